//! The database of countries, as metrics. There are none without it.

use super::Text;
use crate::geo::GeoCounts;

pub(super) fn geo(text: &mut Text, counts: &GeoCounts) {
    let name = "weir_geo_database_built_seconds";
    let help = "When the database of countries that is in force was built, in seconds since the Unix epoch.";
    text.metric(name, "gauge", help);
    text.sample(name, &[], counts.built);
    let name = "weir_geo_database_failures_total";
    let help = "Changes of geo.database that were not taken, since the start.";
    text.metric(name, "counter", help);
    text.sample(name, &[], counts.failures);
}

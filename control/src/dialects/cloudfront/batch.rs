//! Between an InvalidationBatch and an order: paths, of which the last character may be `*`, and
//! tags, which begin with `#`, in any case.

use super::xml::Batch;
use crate::errors::ApiError;
use crate::ledger::Order;
use weir_rules::invalidation::Target;

/// The path that means everything.
const ALL: &str = "/*";

/// The order that a batch is, confined to `site`.
///
/// # Errors
/// 400 for an item that names nothing.
pub(super) fn order(batch: &Batch, site: &str) -> Result<Order, ApiError> {
    let target = |(n, item): (usize, &String)| {
        let parsed = match item.strip_prefix('#') {
            _ if item == ALL => Ok(Target::All),
            Some(tag) => Target::parse_any_case_tag(tag),
            None => Target::parse_path(item),
        };
        parsed.map_err(|reason| ApiError::invalid(format!("Items[{n}]"), reason))
    };
    let targets: Vec<_> = batch.items.iter().enumerate().map(target).collect::<Result<_, _>>()?;
    if targets.is_empty() {
        return Err(ApiError::invalid("Items", "empty; accepted: paths such as /img/*, or #tag"));
    }
    Ok(Order {
        targets,
        site: Some(site.to_owned()),
        soft: false,
        versions: false,
        warm: false,
        reference: Some(batch.reference.clone()),
    })
}

/// The batch that an order is; `None` for what no batch can say.
pub(super) fn batch(order: &Order) -> Option<Batch> {
    if order.soft || order.versions || order.warm {
        return None;
    }
    let item = |target: &Target| match target {
        Target::Path(path) | Target::Pattern(path) => Some(path.clone()),
        Target::AnyCaseTag(tag) => Some(format!("#{tag}")),
        Target::All => Some(ALL.to_owned()),
        _ => None,
    };
    let items = order.targets.iter().map(item).collect::<Option<_>>()?;
    Some(Batch { reference: order.reference.clone()?, items })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn of(items: &[&str]) -> Batch {
        let items = items.iter().map(|item| (*item).to_owned()).collect();
        Batch { reference: "r".into(), items }
    }

    #[test]
    fn a_batch_becomes_an_order_and_is_told_as_it_was_sent() {
        let sent = of(&["/a%20b?c=d", "/img/*", "/*", "#Post-1"]);
        let order = order(&sent, "shop").unwrap();
        let expected = [
            Target::Path("/a%20b?c=d".into()),
            Target::Pattern("/img/*".into()),
            Target::All,
            Target::AnyCaseTag("Post-1".into()),
        ];
        assert_eq!(order.targets, expected);
        assert_eq!((order.site.as_deref(), order.reference.as_deref()), (Some("shop"), Some("r")));
        assert!(!order.soft && !order.versions);
        assert_eq!(batch(&order), Some(sent));
    }

    #[test]
    fn what_names_nothing_is_refused_with_its_place() {
        for (items, field) in [
            (&["/a", "img/*"][..], "Items[1]"),
            (&["#"], "Items[0]"),
            (&["http://shop.example/a"], "Items[0]"),
            (&[], "Items"),
        ] {
            assert_eq!(order(&of(items), "shop").unwrap_err().field(), Some(field));
        }
    }

    #[test]
    fn what_no_batch_can_say_is_none() {
        let plain = order(&of(&["/a"]), "shop").unwrap();
        assert!(batch(&plain).is_some());
        for other in [
            Order { soft: true, ..plain.clone() },
            Order { versions: true, ..plain.clone() },
            Order { warm: true, ..plain.clone() },
            Order { reference: None, ..plain.clone() },
            Order { targets: vec![Target::Host("a".into())], ..plain.clone() },
            // A batch takes it in any case.
            Order { targets: vec![Target::Tag("a".into())], ..plain.clone() },
        ] {
            assert_eq!(batch(&other), None);
        }
    }
}

//! The built-in list of cookies that analytics and advertising scripts set for themselves. `docs/cookies.md` has it
//! with the page of each vendor that names them.

/// The words that stand for a list in `cookies.ignore`.
pub const LISTS: [&str; 1] = ["analytics"];

/// The cookies that `"analytics"` stands for. Scripts in the browser set and read them to tell visitors apart: they
/// differ from visitor to visitor, and the page does not.
pub const ANALYTICS: &[&str] = &[
    // Google Analytics and Google Ads.
    "_ga",
    "_ga_*",
    "_gid",
    "_gat",
    "_dc_gtm_*",
    "AMP_TOKEN",
    "_gac_*",
    "_gcl_*",
    "__utma",
    "__utmb",
    "__utmc",
    "__utmt",
    "__utmv",
    "__utmz",
    // Matomo: each name goes on with the site's number and a hash.
    "_pk_id*",
    "_pk_ses*",
    "_pk_ref*",
    "_pk_cvar*",
    "_pk_hsr*",
    "_pk_testcookie*",
    // Meta.
    "_fbp",
    "_fbc",
    // Microsoft Clarity and Microsoft Advertising.
    "_clck",
    "_clsk",
    "_uetsid",
    "_uetvid",
    // Hotjar.
    "_hjSession_*",
    "_hjSessionUser_*",
    // HubSpot.
    "__hstc",
    "__hssc",
    "__hssrc",
    "hubspotutk",
    // Adobe Analytics.
    "AMCV_*",
    "AMCVS_*",
    "s_cc",
    "s_ecid",
    "s_fid",
    "s_sq",
    "s_vi",
    // Yandex Metrica.
    "_ym_*",
];

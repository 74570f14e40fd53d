//! Responses to requests with Authorization (RFC 9111 §3.5).

mod support;
use support::*;

const WHO: [(&str, &str); 1] = [("Authorization", "Basic dTpw")];

#[tokio::test]
async fn they_are_stored_only_where_the_response_allows() {
    let origin = Origin::start().await;
    let edge = edge().origin(&origin).start();
    for (number, (value, stored)) in [
        ("max-age=60", false),
        ("public, max-age=60", true),
        ("s-maxage=60", true),
        ("must-revalidate, max-age=60", true),
        ("proxy-revalidate, max-age=60", false),
        ("immutable, max-age=60", false),
    ]
    .into_iter()
    .enumerate()
    {
        let target = format!("/{number}");
        origin.route(&target, reply("x").header("Cache-Control", value));
        edge.get_with(&target, &WHO).await;
        assert_eq!(origin.requests(&target)[0].header("Authorization"), Some(WHO[0].1));
        assert_eq!(edge.get(&target).await.handled() == "hit", stored, "{value}");
    }
}

#[tokio::test]
async fn one_visitors_answer_is_not_another_waiting_ones() {
    let origin = Origin::start().await;
    let personal = answer_with(|request| {
        held(request.header("Authorization").unwrap_or("nobody").to_owned()).max_age(60)
    });
    origin.route("/a", personal);
    let edge = edge().origin(&origin).start();
    let known = edge.get_many_with("/a", &WHO, 1);
    edge.until_waiting("/a", 1).await;
    let others = edge.get_many("/a", 4);
    edge.until_waiting("/a", 5).await;
    origin.release("/a");
    known.all("200 Basic dTpw").await;
    others.all("200 nobody").await;
}

#[tokio::test]
async fn that_one_visitors_answer_is_private_does_not_keep_others_from_sharing() {
    let origin = Origin::start().await;
    origin.route("/a", reply("x").max_age(60).then(held("x").max_age(60)));
    let edge = edge().origin(&origin).start();
    let first = edge.get_with("/a", &WHO).await;
    assert!(first.handled().ends_with("detail=authorization"), "{first:?}");
    let crowd = edge.get_many("/a", 5);
    edge.until_waiting("/a", 5).await;
    origin.release("/a");
    crowd.all("200 x").await;
    assert_eq!(origin.fetches("/a"), 2);
}

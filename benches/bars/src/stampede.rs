//! A crowd that wants one cold URL at once: one request to the origin, and everyone is served, or
//! everyone is told.

use crate::check::{Checks, mib};
use crate::client::{self, Answer, Client};
use crate::crowd::{all, gather};
use crate::origin::OriginSim;
use crate::program::{Programs, Weir};
use crate::{Error, scaled};
use http::Response;
use hyper::body::Incoming;
use serde_json::json;
use std::time::{Duration, Instant};
use weir_origin_sim::pattern;

/// Clients at full size.
const CROWD: u64 = 10_000;
/// Bytes of each body.
const BODY: u64 = 16 * 1024;
/// What "at once" may take, on a busy machine too.
const AT_ONCE: Duration = Duration::from_secs(2);

pub(crate) async fn run(programs: &Programs, scale: f64, checks: &mut Checks) -> Result<(), Error> {
    let crowd = usize::try_from(scaled(CROWD, scale, 50))?;
    println!("stampede: {crowd} clients");
    let half = BODY / 2;
    let route = |seed: u64| json!({"body_pattern": [seed, BODY], "max_age": 3600});
    let with = |seed: u64, name: &str, value: serde_json::Value| {
        let mut route = route(seed);
        route[name] = value;
        route
    };
    let script = json!({"routes": {
        "/cold": with(1, "delay", json!("1s")),
        "/left": with(2, "held_after", json!(half)),
        "/died": with(3, "held_after", json!(half)),
        "/dead": with(4, "held", json!(true)),
    }});
    let mut origin = OriginSim::scripted(programs, &script).await?;
    let weir = Weir::start(programs, origin.at, "512MiB")?;
    one_fetch(&origin, &weir, crowd, checks).await?;
    starter_leaves(&origin, &weir, crowd, checks).await?;
    origin_dies_amid_the_body(&mut origin, &weir, crowd, checks).await?;
    origin_dies_before_its_head(&mut origin, &weir, crowd, checks).await?;
    checks.note("stampede: most memory of the node", mib(weir.most_rss()?));
    Ok(())
}

/// The origin takes a second.
async fn one_fetch(
    origin: &OriginSim,
    weir: &Weir,
    crowd: usize,
    checks: &mut Checks,
) -> Result<(), Error> {
    let clients = gather(weir.listen, crowd).await?;
    let begun = Instant::now();
    let answers = all(clients, |mut client| async move { client.get("/cold").await }).await;
    let took = begun.elapsed();
    let whole = answers.iter().filter(|answer| is_whole(answer, 1)).count();
    checks.check("stampede: bodies whole", whole == crowd, whole, crowd);
    let asked = origin.requests("/cold").await?;
    checks.check("stampede: requests to the origin", asked == 1, asked, 1);
    let last = format!("{:.2} s", took.as_secs_f64());
    checks.note("stampede: all answered after (the origin takes 1 s)", last);
    Ok(())
}

/// The client that started the fill leaves when half of the body is there.
async fn starter_leaves(
    origin: &OriginSim,
    weir: &Weir,
    crowd: usize,
    checks: &mut Checks,
) -> Result<(), Error> {
    let mut starter = Client::connect(weir.listen).await?;
    let amid = starter.send("GET", "/left").await?;
    let clients = gather(weir.listen, crowd - 1).await?;
    let heads = heads(clients, "/left").await?;
    drop(amid);
    drop(starter);
    origin.release("/left").await?;
    let answers = all(heads, |(client, head)| async move {
        let answer = client::complete(head).await;
        drop(client);
        answer
    });
    let answers = answers.await;
    let whole = answers.iter().filter(|answer| is_whole(answer, 2)).count();
    checks.check("starter leaves: bodies whole", whole == crowd - 1, whole, crowd - 1);
    let asked = origin.requests("/left").await?;
    checks.check("starter leaves: requests to the origin", asked == 1, asked, 1);
    let next = client::once(weir.listen, "GET", "/left").await;
    let stored = is_whole(&next, 2) && next.is_ok_and(|next| next.is_hit());
    checks.check("starter leaves: stored all the same", stored, stored, true);
    Ok(())
}

/// The origin is killed when half of the body is with every client.
async fn origin_dies_amid_the_body(
    origin: &mut OriginSim,
    weir: &Weir,
    crowd: usize,
    checks: &mut Checks,
) -> Result<(), Error> {
    let clients = gather(weir.listen, crowd).await?;
    let heads = heads(clients, "/died").await?;
    origin.kill();
    let died = Instant::now();
    let answers = all(heads, |(client, head)| async move {
        let answer = client::complete(head).await;
        drop(client);
        answer
    });
    let cut = answers.await.iter().filter(|answer| answer.is_err()).count();
    checks.check("origin dies midway: answers visibly cut", cut == crowd, cut, crowd);
    let told = format!("{:.2} s", died.elapsed().as_secs_f64());
    checks.note("origin dies midway: all were told after", told);
    tries_again(origin, weir, "/died", 3, checks).await
}

/// The origin is killed before it says anything.
async fn origin_dies_before_its_head(
    origin: &mut OriginSim,
    weir: &Weir,
    crowd: usize,
    checks: &mut Checks,
) -> Result<(), Error> {
    let clients = gather(weir.listen, crowd).await?;
    let answers = all(clients, |mut client| async move { client.get("/dead").await });
    let killed = async {
        origin.until_asked("/dead").await?;
        let asked = origin.requests("/dead").await?;
        origin.kill();
        Ok::<_, Error>(asked)
    };
    let (answers, asked) = tokio::join!(answers, killed);
    let asked = asked?;
    checks.check("origin dies before its head: requests to it", asked == 1, asked, 1);
    let honest = |answer: &&Result<Answer, Error>| {
        answer.as_ref().is_ok_and(|answer| matches!(answer.status, 502 | 504))
    };
    let told = answers.iter().filter(honest).count();
    checks.check("origin dies before its head: answered 502 or 504", told == crowd, told, crowd);
    tries_again(origin, weir, "/dead", 4, checks).await
}

/// Nothing of the failure is kept: while the origin is away a request fails, once it is back the
/// next one is served, both at once.
async fn tries_again(
    origin: &mut OriginSim,
    weir: &Weir,
    path: &str,
    seed: u64,
    checks: &mut Checks,
) -> Result<(), Error> {
    let away = client::once(weir.listen, "GET", path).await?;
    let name = format!("origin dies, {path}: status while it is away");
    checks.check(&name, away.status == 502, away.status, 502);
    origin.start().await?;
    origin.release(path).await?;
    let begun = Instant::now();
    let next = client::once(weir.listen, "GET", path).await;
    let took = begun.elapsed();
    let figure = match &next {
        Ok(next) => format!("{}, {} bytes, {took:.2?}", next.status, next.body.len()),
        Err(error) => error.to_string(),
    };
    let name = format!("origin dies, {path}: the next request after it came back");
    let passed = is_whole(&next, seed) && took < AT_ONCE;
    checks.check(&name, passed, figure, format!("200, {BODY} bytes, within {AT_ONCE:?}"));
    Ok(())
}

/// Has every client ask for `path`, and returns when each has the head of its answer.
async fn heads(
    clients: Vec<Client>,
    path: &'static str,
) -> Result<Vec<(Client, Response<Incoming>)>, Error> {
    let heads = all(clients, move |mut client| async move {
        let head = client.send("GET", path).await?;
        Ok::<_, Error>((client, head))
    });
    heads.await.into_iter().collect()
}

fn is_whole(answer: &Result<Answer, Error>, seed: u64) -> bool {
    answer.as_ref().is_ok_and(|answer| {
        answer.status == 200
            && answer.body.len() as u64 == BODY
            && pattern::first_difference(seed, 0, &answer.body).is_none()
    })
}

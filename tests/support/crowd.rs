//! Many clients that ask for the same at once.

use super::answer::Answer;
use super::client::Client;
use std::net::SocketAddr;
use tokio::task::JoinSet;

/// Clients whose answers are still to come.
pub(crate) struct Crowd(JoinSet<Answer>);

impl Crowd {
    pub(crate) fn of(
        listen: SocketAddr,
        target: &str,
        fields: &[(&str, &str)],
        count: usize,
    ) -> Self {
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        let fields: Vec<(String, String)> = fields.iter().map(owned).collect();
        let mut clients = JoinSet::new();
        for _ in 0..count {
            let (target, fields) = (target.to_owned(), fields.clone());
            clients.spawn(async move {
                let fields: Vec<(&str, &str)> =
                    fields.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
                let mut client = Client::connect(listen).await;
                client.request("GET", &target, &fields, "").await;
                client.answer("GET").await
            });
        }
        Self(clients)
    }

    /// All answers, in any order.
    pub(crate) async fn answers(self) -> Vec<Answer> {
        self.0.join_all().await
    }

    /// All answers, which are to be this line ([`Answer::line`]).
    pub(crate) async fn all(self, line: &str) -> Vec<Answer> {
        let answers = self.answers().await;
        for answer in &answers {
            assert_eq!(answer.line(), line);
        }
        answers
    }
}

//! Listing and killing, on a store in a directory of its own.

use shadowcat_protocol::Revision;
use shadowcat_session::{Namespace, SessionId};

use super::*;

async fn store_with(ids: &[&str]) -> (tempfile::TempDir, std::path::PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("sessions.db");
    let store = SqliteStore::open(&path).unwrap();
    let record = |id: &&str| {
        let key = Key::new(Namespace::reverse("up"), SessionId::parse(id).unwrap());
        Arc::new(Record::new(key, Revision::V2025_11_25, "up", 1_700_000_000_000))
    };
    store.save(&ids.iter().map(record).collect::<Vec<_>>()).await.unwrap();
    store.close().await.unwrap();
    (dir, path)
}

async fn told(action: Action, path: &Path) -> String {
    act(&action, path).await.unwrap_or_else(|failure| failure.told())
}

#[tokio::test]
async fn sessions_are_listed_without_their_ids() {
    let (_dir, path) = store_with(&["first-secret-id", "second-secret-id"]).await;
    for listing in [Listing::default(), Listing::as_json()] {
        let listed = told(Action::List(listing), &path).await;
        assert!(listed.contains("2023-11-14T22:13:20Z") && !listed.contains("secret"), "{listed}");
        assert!(listed.contains(&SessionId::parse("first-secret-id").unwrap().tag()), "{listed}");
    }
}

#[tokio::test]
async fn a_killed_session_is_over_and_cannot_be_killed_again() {
    let (_dir, path) = store_with(&["first-secret-id", "second-secret-id"]).await;
    let tag = SessionId::parse("first-secret-id").unwrap().tag();
    assert!(told(Action::Kill { session: tag.clone() }, &path).await.contains("is ended"));
    assert!(told(Action::Show { session: tag.clone() }, &path).await.contains(r#""state": "closing""#));
    assert!(told(Action::Kill { session: tag }, &path).await.contains("is over already: it is closing"));
    let other = told(Action::Show { session: "second-secret-id".into() }, &path).await;
    assert!(other.contains(r#""upstream": "up""#) && other.contains(r#""state": "new""#), "{other}");
    assert!(!other.contains("secret"), "{other}");
    assert!(told(Action::Kill { session: "nobody".into() }, &path).await.contains("no such session"));
}

#[tokio::test]
async fn a_missing_store_is_named_and_not_made() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("sessions.db");
    assert!(told(Action::List(Listing::default()), &path).await.contains("there is no such file"));
    assert!(!path.exists());
}

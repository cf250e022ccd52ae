//! Users and tokens.

use model::{GeneralAccess, Profile, Timestamp, Token, TokenId, User, UserId};

use super::fixtures::fresh;
use crate::{Noun, Store, StoreError};

fn user(username: &str, millis: i64) -> User {
    User {
        id: fresh(),
        username: username.to_owned(),
        email: None,
        created_at: Timestamp::from_millis(millis),
        proxy_password: "proxy".to_owned(),
        run_access: GeneralAccess::FollowUserSetting,
        storage_access: GeneralAccess::Restricted,
        profile: Profile::default(),
        max_monthly_usage_usd: None,
        data_retention_days: None,
        max_memory_mbytes: None,
        max_concurrent_runs: None,
    }
}

fn token(user_id: UserId, hash: u8, millis: i64) -> Token {
    Token {
        id: fresh(),
        user_id,
        name: format!("token {hash}"),
        hash: [hash; 32],
        created_at: Timestamp::from_millis(millis),
        expires_at: None,
        scope: None,
    }
}

pub async fn a_user_is_found_by_id_and_by_name_in_any_case(store: &Store) {
    let jane = user("Jane.Doe", 2);
    store.users.create(jane.clone()).await.unwrap();

    assert_eq!(*store.users.get(&jane.id).await.unwrap().unwrap(), jane);
    for name in ["Jane.Doe", "jane.doe", "JANE.DOE"] {
        assert_eq!(*store.users.find(name).await.unwrap().unwrap(), jane);
    }
    assert!(store.users.find("jane").await.unwrap().is_none());
    assert!(store.users.get(&fresh()).await.unwrap().is_none());
    assert!(matches!(store.users.create(user("JANE.doe", 3)).await, Err(StoreError::NameTaken)));
}

pub async fn users_are_listed_oldest_first(store: &Store) {
    for (name, millis) in [("second", 2), ("first", 1), ("third", 3)] {
        store.users.create(user(name, millis)).await.unwrap();
    }

    let names: Vec<_> = store.users.list().await.unwrap().iter().map(|user| user.username.clone()).collect();

    assert_eq!(names, ["first", "second", "third"]);
}

pub async fn a_token_opens_its_user_until_it_is_taken_back(store: &Store) {
    let (jane, john) = (user("jane", 1), user("john", 2));
    store.users.create(jane.clone()).await.unwrap();
    store.users.create(john.clone()).await.unwrap();
    let tokens = [token(jane.id, 1, 20), token(john.id, 2, 10), token(jane.id, 3, 10)];
    for token in &tokens {
        assert!(store.users.token(&token.hash).await.unwrap().is_none());
        store.users.create_token(token.clone()).await.unwrap();
    }

    for (token, user) in tokens.iter().zip([&jane, &john, &jane]) {
        for _ in 0..2 {
            let (found, owner) = store.users.token(&token.hash).await.unwrap().unwrap();
            assert_eq!((&*found, &*owner), (token, user));
        }
    }
    let of_jane: Vec<TokenId> = store.users.tokens(&jane.id).await.unwrap().iter().map(|token| token.id).collect();
    assert_eq!(of_jane, [tokens[2].id, tokens[0].id]);

    store.users.delete_token(&tokens[0].id).await.unwrap();
    assert!(store.users.token(&tokens[0].hash).await.unwrap().is_none());
    assert!(store.users.token(&tokens[2].hash).await.unwrap().is_some());
    let again = store.users.delete_token(&tokens[0].id).await;
    assert!(matches!(again, Err(StoreError::NotFound(Noun::Token))));
    let nobodys = store.users.create_token(token(fresh(), 4, 1)).await;
    assert!(matches!(nobodys, Err(StoreError::NotFound(Noun::User))));
}

pub async fn a_pair_of_user_and_actor_has_one_input_key(store: &Store) {
    let (users, (jane, john)) = (&store.users, (fresh(), fresh()));
    let (one, other) = (fresh(), fresh());
    assert_eq!(users.input_key(&jane, &one).await.unwrap(), None);

    for (user, actor, key) in [(jane, one, "a"), (jane, other, "b"), (john, one, "c")] {
        users.keep_input_key(&user, &actor, key.to_owned()).await.unwrap();
    }

    let again = users.keep_input_key(&jane, &one, "d".to_owned()).await;
    assert!(matches!(again, Err(StoreError::NameTaken)));
    for (user, actor, key) in
        [(jane, one, Some("a")), (jane, other, Some("b")), (john, one, Some("c")), (john, other, None)]
    {
        assert_eq!(users.input_key(&user, &actor).await.unwrap().as_deref(), key);
    }
}

pub async fn a_changed_user_is_seen_by_every_way_to_it(store: &Store) {
    let jane = user("jane", 1);
    store.users.create(jane.clone()).await.unwrap();
    let laptop = token(jane.id, 1, 20);
    store.users.create_token(laptop.clone()).await.unwrap();
    store.users.token(&laptop.hash).await.unwrap().unwrap();

    let change = |user: &mut User| {
        user.profile.bio = Some("crawls".to_owned());
        user.max_monthly_usage_usd = Some(0.1);
        user.username = "joe".to_owned();
    };
    let changed = store.users.modify(&jane.id, Box::new(change)).await.unwrap();

    assert_eq!((changed.profile.bio.as_deref(), changed.username.as_str()), (Some("crawls"), "jane"));
    assert_eq!(*store.users.get(&jane.id).await.unwrap().unwrap(), *changed);
    assert_eq!(*store.users.find("Jane").await.unwrap().unwrap(), *changed);
    assert_eq!(*store.users.token(&laptop.hash).await.unwrap().unwrap().1, *changed);
    assert_eq!(*store.users.list().await.unwrap()[0], *changed);
    let nobody = store.users.modify(&fresh(), Box::new(|_: &mut User| {})).await;
    assert!(matches!(nobody, Err(StoreError::NotFound(Noun::User))));
}

use super::*;

fn file(name: &str, text: &str) -> (String, Result<String, String>) {
    (name.to_owned(), Ok(text.to_owned()))
}

fn profile(name: &str) -> String {
    format!("name = \"{name}\"\nlatency_class = \"fast\"\nsources = [\"a friend\"]\n")
}

fn user(files: &[(String, Result<String, String>)]) -> UserProfiles {
    let mut user = UserProfiles::default();
    user.handle_files(files);
    user
}

fn name(library: &GameLibrary, id: &str) -> Option<String> {
    Some(library.game(&id.parse().unwrap())?.name.to_string())
}

#[test]
fn every_file_that_came_with_the_program_is_good() {
    let library = GameLibrary::bundled();
    assert!(library.len() >= 150, "{}", library.len());
    assert_eq!(library.len(), bundled_files().count());
    let with_discovery = library.games().filter(|game| !game.discovery.is_empty());
    assert!(with_discovery.count() >= 60);
    for (file, text) in bundled_files() {
        let game = parse(file, text).unwrap_or_else(|error| panic!("{error}"));
        for source in game
            .sources
            .iter()
            .chain(game.discovery.iter().map(|found| &found.source))
        {
            assert!(
                source.starts_with("https://") || source.starts_with("http://"),
                "{file}: {source}"
            );
        }
    }
}

#[test]
fn a_users_profile_takes_the_place_of_ours_and_others_are_added() {
    let ours = GameLibrary::default().with(&user(&[file("a.toml", &profile("Ours"))]));
    let both = ours.with(&user(&[
        file("a.toml", &profile("Theirs")),
        file("b.toml", &profile("More")),
    ]));
    assert_eq!(name(&both, "a").as_deref(), Some("Theirs"));
    assert_eq!(name(&both, "b").as_deref(), Some("More"));
    assert_eq!(both.len(), 2);
}

#[test]
fn a_file_that_became_wrong_is_told_of_and_counts_as_it_was() {
    let mut user = user(&[file("a.toml", &profile("A")), file("b.toml", &profile("B"))]);
    assert!(user.handle_files(&[file("a.toml", "name = 3"), file("b.toml", &profile("B 2"))]));
    let library = GameLibrary::default().with(&user);
    assert_eq!(name(&library, "a").as_deref(), Some("A"));
    assert_eq!(name(&library, "b").as_deref(), Some("B 2"));
    assert_eq!(
        (user.problems()[0].file.as_str(), user.problems()[0].line),
        ("a.toml", 1)
    );

    assert!(user.handle_files(&[file("a.toml", &profile("A 2"))]));
    assert!(user.problems().is_empty());
    assert_eq!(
        name(&GameLibrary::default().with(&user), "b"),
        None,
        "a file that is gone is gone"
    );
    assert!(!user.handle_files(&[file("a.toml", &profile("A 2"))]));
}

#[test]
fn a_file_that_cannot_be_read_says_why() {
    let unread = ("a.toml".to_owned(), Err("permission denied".to_owned()));
    assert_eq!(user(&[unread]).problems()[0].reason, "permission denied");
}

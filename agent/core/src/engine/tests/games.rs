//! Who plays what.

use lanrage_shared::api::game::Wording;

use super::*;

#[test]
fn what_is_played_is_told_to_the_party_and_heard_of_peers_while_the_server_is_there() {
    let mut world = world(2);
    let now = world.now;
    let quake = Playing {
        id: "quake".parse().unwrap(),
        name: "Quake".parse().unwrap(),
        wording: Wording::Probably,
    };
    let engine = &mut world.engines[0];
    engine.handle_server(true, now);
    while engine.poll_event().is_some() {}
    engine.handle_game(Some(quake.clone()), Some(Duration::from_secs(3)));
    let told = std::iter::from_fn(|| engine.poll_event()).find_map(|event| match event {
        Event::Presence(presence) => presence.game.map(|game| *game),
        _ => None,
    });
    assert_eq!(told, Some(quake.clone()));
    engine.handle_game(Some(quake.clone()), None);
    assert_eq!(engine.poll_event(), None, "nothing new for the party");

    let presence = Presence {
        game: Some(Box::new(quake.clone())),
        ..Presence::default()
    };
    engine.handle_presence(MemberId(2), true, Some(&presence), now);
    assert_eq!(engine.peers().next().unwrap().playing, Some(quake));
    engine.handle_server(false, now);
    assert_eq!(engine.peers().next().unwrap().playing, None);
}

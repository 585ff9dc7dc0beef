//! What is played again at a node: after a refusal, where offers cross, and for the fork that answered the call.

use super::*;

/// A call that goes on at one node.
struct Said(World);

impl Said {
    fn new() -> Said {
        Said(World::new(1, table()))
    }

    /// What the node hears when a shard says this: `offer a>b a0`, in one letter for each tag.
    fn say(&mut self, words: &str) -> Vec<String> {
        let mut words = words.split(' ');
        let verb = match words.next().unwrap() {
            "offer" => Verb::Offer,
            "answer" => Verb::Answer,
            "restore" => Verb::Restore,
            _ => Verb::Choose,
        };
        let (from, to) = words.next().unwrap().split_once('>').unwrap();
        let sdp = words.next().unwrap_or_default();
        self.0.said.clear();
        let asked = self.0.ask_between(5, verb, 1, (from.as_bytes(), to.as_bytes()), sdp.as_bytes());
        self.0.run(8);
        assert!(self.0.outcome(asked).is_some());
        std::mem::take(&mut self.0.said)
    }

    fn all(&mut self, said: &[&str]) {
        said.iter().for_each(|words| assert_eq!(self.say(words).len(), 1, "{words}"));
    }
}

/// Both sides have an offer out. The one that is off is that of who is named, and the node hears the other one's again behind what was agreed on: else
/// the answer to it would be played to where its sender was before.
#[test]
fn an_offer_that_crosses_a_refused_one_is_heard_again() {
    for (first, second) in [("a>b", "b>a"), ("b>a", "a>b")] {
        let begun = |order: [&str; 2]| {
            let mut said = Said::new();
            said.all(&["offer a> a0", "answer a>b b0"]);
            for sides in order {
                said.all(&[&format!("offer {sides} {}1", &sides[..1])]);
            }
            said
        };
        let name = |sides: &str| sides[..1].to_owned();
        for order in [[first, second], [second, first]] {
            let mut said = begun(order);
            let again = format!("offer {}1", name(second));
            assert_eq!(said.say(&format!("restore {first}")), ["offer a0", "answer b0", &again]);
            said.all(&[&format!("answer {second} yes")]);
            // What was accepted holds from now on.
            said.all(&[&format!("offer {first} no")]);
            assert_eq!(said.say(&format!("restore {first}")), [&again, "answer yes"]);

            let mut said = begun(order);
            said.say(&format!("restore {first}"));
            assert_eq!(said.say(&format!("restore {second}")), ["offer a0", "answer b0"], "neither");

            // The other one is accepted before the refusal comes.
            let mut said = begun(order);
            said.all(&[&format!("answer {second} yes")]);
            assert_eq!(said.say(&format!("restore {first}")), [&again, "answer yes"]);
        }
    }
}

/// An offer is refused before the call's first one is answered: that one holds, as it was.
#[test]
fn a_refused_offer_before_the_first_answer() {
    for refused in ["a>b", "b>a"] {
        let mut said = Said::new();
        said.all(&["offer a> a0", &format!("offer {refused} u")]);
        assert_eq!(said.say(&format!("restore {refused}")), ["offer a0"]);
        said.all(&["answer a>b b0", &format!("offer {refused} v")]);
        assert_eq!(said.say(&format!("restore {refused}")), ["offer a0", "answer b0"]);
    }
}

/// Each fork has an offer of its own, and an answer to that: of several the one that answered the call is played again, with what was agreed on last.
#[test]
fn the_fork_that_answers_the_call_is_played_again() {
    let mut said = Said::new();
    said.all(&["offer x>c x0", "offer y>c y0", "answer x>c cx", "answer y>c cy"]);
    assert!(said.say("choose y>c").is_empty(), "it was the last one");
    assert_eq!(said.say("choose x>c"), ["offer x0", "answer cx"]);
    assert!(said.say("choose z>c").is_empty(), "it has agreed on nothing");
    said.all(&["offer c>x u", "answer c>x v", "offer y>c y0", "answer y>c cy"]);
    assert_eq!(said.say("choose x>c"), ["offer u", "answer v"]);
    // A 200 that says something else than its 183: the caller has answered that one only.
    said.all(&["offer y>c y1"]);
    assert_eq!(said.say("choose y>c"), ["offer y1", "answer cy"]);
    // Forks that answer the caller's offer.
    let mut said = Said::new();
    said.all(&["offer c> c0", "answer c>x x0", "answer c>y y0"]);
    assert_eq!(said.say("choose c>x"), ["offer c0", "answer x0"]);
    let mut said = Said::new();
    said.all(&["offer c> c0", "answer c>x x0", "answer c>y y0", "offer x>c x1", "answer x>c c1"]);
    assert!(said.say("choose c>x").is_empty(), "it was the last one");
    assert_eq!(said.say("choose c>y"), ["offer c0", "answer y0"]);
}

/// The answer of a fork belongs to that fork's offer, and of a gateway that was given up to the attempt that it was made for.
#[test]
fn an_answer_is_paired_with_the_offer_that_it_names() {
    let mut said = Said::new();
    said.all(&["offer x>c x0", "offer y>c y0", "answer x>c cx", "offer x>c x1"]);
    assert_eq!(said.say("restore x>c"), ["offer x0", "answer cx"]);
    let mut said = Said::new();
    said.all(&["offer a> a0", "answer a>b b0", "offer a>b a1", "offer b>a b1", "answer a>b b2", "offer a>b a3"]);
    assert_eq!(said.say("restore a>b"), ["offer a1", "answer b2", "offer b1"]);
}

/// As many offers are known as a call may have; what nobody remembers is not played.
#[test]
fn offers_of_a_call_are_bounded() {
    let mut said = Said::new();
    for fork in 'a'..='z' {
        said.all(&[&format!("offer {fork}>C o{fork}")]);
    }
    said.all(&["answer z>C cz", "answer a>C ca"]);
    assert!(said.say("choose a>C").is_empty(), "its offer is forgotten");
    said.all(&["answer y>C cy", "answer x>C cx"]);
    assert_eq!(said.say("choose y>C"), ["offer oy", "answer cy"]);
}

//! Keys that clients have disclosed, to log in to servers in their name.

use std::collections::HashMap;

use crate::{ScramKeys, Verifier};

/// The keys of users of whom only a verifier is known.
///
/// An entry counts only together with the verifier that it was learnt under: its salt, iteration
/// count and keys. When a user's verifier changes, the old keys are never handed out again. Only
/// logins that succeeded add to it, so it has at most one entry per role.
#[derive(Debug, Default)]
pub struct KeyRing {
    keys: HashMap<Box<str>, ScramKeys>,
}

impl KeyRing {
    /// Keeps what a successful login of `user` has disclosed, in the place of what was there.
    pub fn learn(&mut self, user: &str, keys: ScramKeys) {
        match self.keys.get_mut(user) {
            Some(known) => *known = keys,
            None => drop(self.keys.insert(user.into(), keys)),
        }
    }

    /// The keys of `user`, if they were learnt under this verifier.
    pub fn get(&self, user: &str, verifier: &Verifier) -> Option<&ScramKeys> {
        self.keys.get(user).filter(|keys| keys.belong_to(verifier))
    }

    /// Drops a user's keys: after the servers have refused them, or with the user.
    pub fn forget(&mut self, user: &str) {
        self.keys.remove(user);
    }

    /// Drops the keys that belong to no verifier any more, as after a reload. `verifier` gives
    /// a user's, or `None` if there is no such user.
    pub fn retain<'a>(&mut self, verifier: impl Fn(&str) -> Option<&'a Verifier>) {
        self.keys.retain(|user, keys| verifier(user).is_some_and(|it| keys.belong_to(it)));
    }

    /// How many users' keys are known.
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// Whether no keys are known.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Secret;

    fn verifier(password: &str, salt: &[u8], iterations: u32) -> Verifier {
        Verifier::derive(&Secret::new(password), salt, iterations)
    }

    #[test]
    fn keys_count_only_with_the_verifier_they_were_learnt_under() {
        let current = verifier("secret", b"salt", 2);
        let mut ring = KeyRing::default();
        ring.learn("alice", ScramKeys::derive(&Secret::new("secret"), b"salt", 2));
        assert!(ring.get("alice", &current).is_some());
        assert!(ring.get("bob", &current).is_none());
        let changes: [fn(&mut Verifier); 6] = [
            |it| *it = verifier("other", b"salt", 2),
            |it| *it = verifier("secret", b"tlas", 2),
            |it| it.server_key = [0; 32],
            |it| it.stored_key = [0; 32],
            |it| it.iterations = 3,
            |it| it.salt = b"salt2".to_vec(),
        ];
        for change in changes {
            let mut changed = current.clone();
            change(&mut changed);
            assert!(ring.get("alice", &changed).is_none());
        }
    }

    #[test]
    fn a_reload_drops_what_belongs_to_no_verifier_any_more() {
        let mut ring = KeyRing::default();
        for user in ["same", "changed", "gone", "forgotten"] {
            ring.learn(user, ScramKeys::derive(&Secret::new(user), b"salt", 1));
        }
        let (same, changed) = (verifier("same", b"salt", 1), verifier("new", b"salt", 1));
        ring.forget("forgotten");
        assert_eq!(ring.len(), 3);
        ring.retain(|user| match user {
            "same" => Some(&same),
            "changed" => Some(&changed),
            _ => None,
        });
        assert!(ring.len() == 1 && ring.get("same", &same).is_some());
        ring.learn("same", ScramKeys::derive(&Secret::new("new"), b"salt", 1));
        assert!(ring.get("same", &same).is_none() && ring.get("same", &changed).is_some());
    }
}

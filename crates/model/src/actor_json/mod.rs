//! What an Actor says about itself: `.actor/actor.json` and the files that it names.

mod lenient;

pub(crate) use lenient::parse_lenient;

//! The verbs: start, abort, resurrect, build, meter, recover.

//! The HTTP face of Playhouse: the Apify API v2.

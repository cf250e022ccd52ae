//! A small shop with made-up books.

use axum::Router;
use axum::extract::Path;
use axum::http::StatusCode;
use axum::response::{Html, IntoResponse as _, Response};
use axum::routing::get;

/// Where the site is, below the server's address.
pub const PATH: &str = "/x-demo/";

const PER_PAGE: usize = 4;

/// Title, author, price in cents.
const BOOKS: [(&str, &str, u32); 12] = [
    ("The Patient Crawler", "Ada Brook", 1290),
    ("Queues of the North", "Tomas Reed", 990),
    ("A Lock for Every Door", "Mina Sato", 1850),
    ("Segments", "Oskar Lind", 2200),
    ("The Last Commit", "Ida Novak", 1475),
    ("Salt and Sockets", "Ben Okafor", 1120),
    ("Forefront", "Lea Martin", 1640),
    ("Quiet Retries", "Jon Aske", 870),
    ("Grace Period", "Ruth Calder", 1995),
    ("Small Hours, Long Runs", "Pavel Dvorak", 1330),
    ("The Item Keeper", "Noor Haddad", 1560),
    ("Ordinary Exits", "Sam Whitlock", 1045),
];

/// The pages of the site.
pub fn router() -> Router {
    Router::new()
        .route(PATH, get(|| async { shelf(0) }))
        .route(&format!("{PATH}shelf/{{number}}"), get(|Path(number): Path<usize>| async move { shelf(number) }))
        .route(&format!("{PATH}book/{{number}}"), get(|Path(number): Path<usize>| async move { book(number) }))
}

fn shelf(number: usize) -> Response {
    let first = number.saturating_mul(PER_PAGE);
    let Some(books) = BOOKS.get(first..(first + PER_PAGE).min(BOOKS.len())).filter(|books| !books.is_empty()) else {
        return StatusCode::NOT_FOUND.into_response();
    };
    let links: String = books
        .iter()
        .enumerate()
        .map(|(index, (title, ..))| format!("<li><a href=\"{PATH}book/{}\">{title}</a></li>", first + index))
        .collect();
    let next = if first + PER_PAGE < BOOKS.len() {
        format!("<a href=\"{PATH}shelf/{}\">Next shelf</a>", number + 1)
    } else {
        String::new()
    };
    Html(format!("<!doctype html><title>Shelf {}</title><ul>{links}</ul>{next}", number + 1)).into_response()
}

fn book(number: usize) -> Response {
    let Some((title, author, cents)) = BOOKS.get(number) else { return StatusCode::NOT_FOUND.into_response() };
    let price = format!("{}.{:02}", cents / 100, cents % 100);
    Html(format!(
        "<!doctype html><title>{title}</title><h1>{title}</h1><p class=\"author\">{author}</p><p class=\"price\">{price}</p>\
         <a href=\"{PATH}\">All books</a>"
    ))
    .into_response()
}

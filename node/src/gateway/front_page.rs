//! Page at `/` for people who open the address of a node in a browser: what runs there, and where to read on. It takes
//! the place of the chat page where that one is off.

use actix_web::http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE};
use actix_web::{HttpResponse, web};

use super::api;

/// The page, which loads nothing.
const PAGE: &str = include_str!("front_page.html");

pub(super) fn routes(config: &mut web::ServiceConfig) {
    let page = web::resource("/")
        .route(web::get().to(show))
        .default_service(web::to(api::unknown));
    config.service(page);
}

async fn show() -> HttpResponse {
    HttpResponse::Ok()
        .insert_header((CONTENT_TYPE, "text/html; charset=utf-8"))
        // An upgraded node names another version.
        .insert_header((CACHE_CONTROL, "no-cache"))
        .insert_header((
            CONTENT_SECURITY_POLICY,
            "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; frame-ancestors 'none'",
        ))
        .body(PAGE.replace("{version}", env!("CARGO_PKG_VERSION")))
}

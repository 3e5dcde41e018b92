//! Listener for operators: probes, metrics, state of the cluster, administration and the console, on a port of their own.

use std::future::ready;
use std::net::TcpListener;
use std::rc::Rc;

use actix_http::{HttpService, Protocol};
use actix_server::ServerBuilder;
use actix_service::{IntoServiceFactory, ServiceFactoryExt, map_config};
use actix_web::dev::{AppConfig, Extensions, fn_service};
use actix_web::middleware::from_fn;
use actix_web::rt::net::TcpStream;
use actix_web::{App, Error, web};
use utoipa_actix_web::AppExt;

use super::api::Api;
use super::connection::Io;
use super::connection_limit::serve_operators;
use super::server::{GatewayDeps, LINGER};
use super::worker_thread::WorkerThread;
use super::{api, description, envelope, web_pages};

/// Adds the listener. It answers no cross-origin request: its tokens belong into no page but its own.
pub(super) fn listen(
    server: ServerBuilder,
    listener: TcpListener,
    parts: &GatewayDeps,
) -> std::io::Result<ServerBuilder> {
    let (parts, stopping) = (parts.clone(), server.graceful_shutdown_signal());
    let addr = listener.local_addr()?;
    server.listen("operators", listener, move || {
        let thread = WorkerThread::current(&parts);
        let app = App::new()
            .into_utoipa_app()
            .openapi(description::outline())
            .configure(api::operator_routes);
        let (app, description) = app.split_for_parts();
        let app = app
            // Beside the API: no description contains the files of the console.
            .configure(web_pages::operator_routes)
            .configure(|config| operator_data(config, &parts))
            .app_data(web::Data::new(thread.worker.clone()))
            .app_data(web::Data::new(Rc::new(Api::new(description))))
            .default_service(web::to(api::unknown))
            .wrap(from_fn(serve_operators))
            .wrap(from_fn(envelope::identify));
        let stopping = stopping.clone();
        let http = HttpService::build()
            .graceful_shutdown_signal(move || {
                let stopping = stopping.clone();
                async move { stopping.notified().await }
            })
            .client_request_timeout(parts.config.tuning.request_timeout.0)
            .client_disconnect_timeout(LINGER)
            .local_addr(addr)
            .on_connect_ext(|io: &Io, extensions: &mut Extensions| io.promote(extensions))
            .finish(map_config(
                app.into_factory().map_err(|error: Error| error.error_response()),
                |()| AppConfig::default(),
            ));
        fn_service(move |stream: TcpStream| {
            let io = thread.accept(stream);
            let peer = io.peer();
            ready(Ok((io, Protocol::Http1, peer)))
        })
        .and_then(http)
    })
}

/// Adds the components that only handlers of operators use.
pub(super) fn operator_data(config: &mut web::ServiceConfig, parts: &GatewayDeps) {
    config
        .app_data(web::Data::new(parts.admin.clone()))
        .app_data(web::Data::new(parts.admin_tokens.clone()))
        .app_data(web::Data::new(parts.api_keys.clone()))
        .app_data(web::Data::new(parts.cluster.clone()))
        .app_data(web::Data::new(parts.figures.clone()))
        .app_data(web::Data::new(parts.sessions.clone()));
}

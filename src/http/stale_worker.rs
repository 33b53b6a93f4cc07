//! A service worker that an earlier app left on this origin answers its visitors in our place, for ever.
//! Browsers ask for its script now and then; what they get here takes it away.

use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, Request, header};
use axum::response::{IntoResponse, Response};

/// Takes over from the one before, forgets what that one kept, and loads its pages again, from here.
const SCRIPT: &str = "\
self.addEventListener('install', () => self.skipWaiting());
self.addEventListener('activate', (event) => event.waitUntil((async () => {
  for (const name of await caches.keys()) await caches.delete(name);
  await self.registration.unregister();
  for (const page of await self.clients.matchAll({ type: 'window' })) page.navigate(page.url).catch(() => {});
})()));
";

/// Sent with every request for a worker's script (Service Workers §4.1), and with no other.
const SERVICE_WORKER: HeaderName = HeaderName::from_static("service-worker");

/// The script may have been kept deeper than what it controls.
const ALLOWED: HeaderName = HeaderName::from_static("service-worker-allowed");

pub(super) fn asks<B>(request: &Request<B>) -> bool {
    let named = |headers: &HeaderMap| headers.get(SERVICE_WORKER).is_some_and(|value| value == "script");
    request.method() == Method::GET && named(request.headers())
}

pub(super) fn removal() -> Response {
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("text/javascript; charset=utf-8")),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
        (ALLOWED, HeaderValue::from_static("/")),
    ];
    (headers, SCRIPT).into_response()
}

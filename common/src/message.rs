//! The heads of messages, as every leg of the way has them, and how long a body either end keeps.

use http::{Method, StatusCode, Uri, Version, request, response};

use crate::fields::Fields;

/// How many bytes of a request's body an end keeps, so that the request can be sent again: most API
/// calls, and little beside a stream's credit.
pub const KEPT_BODY: usize = 16 * 1024;

/// The head of a request.
#[derive(Clone, Debug, PartialEq)]
pub struct RequestHead {
    /// What is asked.
    pub method: Method,
    /// For what: a path and query, or a whole URI.
    pub uri: Uri,
    /// What it came in, or is to leave in.
    pub version: Version,
    /// Its fields.
    pub fields: Fields,
}

impl RequestHead {
    /// A `GET` in HTTP/1.1, without fields.
    pub fn get(uri: Uri) -> Self {
        Self { method: Method::GET, uri, version: Version::HTTP_11, fields: Fields::new() }
    }

    /// What HTTP/1.1 asks for: path and query, also of a whole URI.
    pub fn target(&self) -> &str {
        self.uri.path_and_query().map_or("/", |target| target.as_str())
    }

    /// The request as libraries have it.
    pub fn to_http<B>(&self, body: B) -> http::Request<B> {
        let mut request = http::Request::new(body);
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = self.uri.clone();
        *request.version_mut() = self.version;
        *request.headers_mut() = (&self.fields).into();
        request
    }
}

/// A response.
#[derive(Clone, Debug, PartialEq)]
pub struct Response<B> {
    /// How it went.
    pub status: StatusCode,
    /// What it came in.
    pub version: Version,
    /// Its fields.
    pub fields: Fields,
    /// Its body; `()` for a head alone.
    pub body: B,
}

impl<B> Response<B> {
    /// A response in HTTP/1.1, without fields.
    pub fn new(status: StatusCode, body: B) -> Self {
        Self { status, version: Version::HTTP_11, fields: Fields::new(), body }
    }

    /// The same with another body.
    pub fn map<C>(self, change: impl FnOnce(B) -> C) -> Response<C> {
        let Self { status, version, fields, body } = self;
        Response { status, version, fields, body: change(body) }
    }
}

impl From<request::Parts> for RequestHead {
    fn from(parts: request::Parts) -> Self {
        let fields = Fields::from(&parts.headers);
        Self { method: parts.method, uri: parts.uri, version: parts.version, fields }
    }
}

impl<B> From<http::Response<B>> for Response<B> {
    fn from(response: http::Response<B>) -> Self {
        let (response::Parts { status, version, headers, .. }, body) = response.into_parts();
        Self { status, version, fields: Fields::from(&headers), body }
    }
}

impl<B> From<Response<B>> for http::Response<B> {
    fn from(response: Response<B>) -> Self {
        let headers = (&response.fields).into();
        let mut converted = Self::new(response.body);
        *converted.status_mut() = response.status;
        *converted.version_mut() = response.version;
        *converted.headers_mut() = headers;
        converted
    }
}

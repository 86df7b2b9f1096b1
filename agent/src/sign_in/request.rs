//! The protocol library over our own HTTP client.

use super::{Client, provider::Provider};
use crate::fetch::{FetchError, Fetcher};
use bytes::Bytes;
use http_body_util::Full;
use oauth2::{
    AuthType, ClientId, DeviceAuthorizationUrl, EndpointNotSet, EndpointSet, HttpRequest, HttpResponse,
    TokenUrl, basic::BasicClient,
};
use std::{future::Future, time::Duration};
use thiserror::Error;
use url::Url;

/// The first token of a provider that has just started makes its keys, and a form behind a slow directory takes seconds.
const ANSWER: Duration = Duration::from_secs(30);

/// With the token endpoint set, and nothing else.
pub(super) type TokenClient =
    BasicClient<EndpointNotSet, EndpointNotSet, EndpointNotSet, EndpointNotSet, EndpointSet>;

#[derive(Debug, Error)]
pub(super) enum AskError {
    #[error("{0}")]
    Address(String),
    #[error(transparent)]
    Exchange(#[from] FetchError),
    /// Whatever its body says: a proxy in front of the provider has pages of its own.
    #[error("it answered with {0}")]
    Broken(http::StatusCode),
}

/// The client as the library wants it.
pub(super) fn token_client(client: &Client, provider: &Provider) -> TokenClient {
    let mut made = BasicClient::new(ClientId::new(client.client_id.clone()))
        .set_token_uri(TokenUrl::from_url(provider.token.clone()));
    if let Some(secret) = &client.secret {
        made = made.set_client_secret(secret.clone());
    }
    if provider.secret_in_body {
        made = made.set_auth_type(AuthType::RequestBody);
    }
    made
}

pub(super) fn device_address(url: &Url) -> DeviceAuthorizationUrl {
    DeviceAuthorizationUrl::from_url(url.clone())
}

/// What sends the library's requests.
pub(super) fn by_http(
    web: &Fetcher,
) -> impl Fn(HttpRequest) -> std::pin::Pin<Box<dyn Future<Output = Result<HttpResponse, AskError>>>> + use<> {
    let web = web.clone();
    move |request| {
        let web = web.clone();
        Box::pin(async move { send(request, &web).await })
    }
}

async fn send(request: HttpRequest, web: &Fetcher) -> Result<HttpResponse, AskError> {
    let url: Url = request
        .uri()
        .to_string()
        .parse()
        .map_err(|error: url::ParseError| AskError::Address(error.to_string()))?;
    let request = request.map(|body| Full::new(Bytes::from(body)));
    let response = web.exchange(&url, request, ANSWER).await?;
    if response.status().is_server_error() {
        return Err(AskError::Broken(response.status()));
    }
    Ok(response.map(|body| body.to_vec()))
}

/// The audience, in both ways that providers know: Auth0's and Hydra's own parameter, and RFC 8707's, which takes
/// absolute addresses only.
pub(super) fn audience_parameters(client: &Client) -> Vec<(&'static str, String)> {
    let Some(audience) = &client.audience else { return Vec::new() };
    let mut parameters = vec![("audience", audience.clone())];
    if Url::parse(audience).is_ok_and(|url| url.fragment().is_none()) {
        parameters.push(("resource", audience.clone()));
    }
    parameters
}

//! An open connection for crates that take one.

use std::sync::Arc;

use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
};
use tokio_rustls::TlsConnector;

use super::{Endpoint, dial};
use crate::http_client::{CallError, HttpClient};

/// An open connection, encrypted or not.
pub(super) trait Stream: AsyncRead + AsyncWrite + Send + Unpin + 'static {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin + 'static> Stream for S {}

/// Connects, with TLS where the endpoint says so.
pub(super) async fn dial(http: &HttpClient, endpoint: &Endpoint) -> Result<Box<dyn Stream>, CallError> {
    let address = dial::address(http, endpoint).await?;
    let stream = TcpStream::connect(address).await.map_err(|error| CallError::connecting(&error))?;
    // A message goes at once; what does not work only costs time.
    let _ = stream.set_nodelay(true);
    if !endpoint.tls {
        return Ok(Box::new(stream));
    }
    let connector = TlsConnector::from(Arc::new(dial::config(dial::verifier(endpoint)?)?));
    let stream =
        connector.connect(dial::name(endpoint)?, stream).await.map_err(|error| CallError::connecting(&error))?;
    Ok(Box::new(stream))
}

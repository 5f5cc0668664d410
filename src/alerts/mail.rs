//! Mail over SMTP. The server's address is chosen by the guard of the HTTP client, its certificate is that of its
//! name.

use std::time::Duration;

use lettre::{
    AsyncSmtpTransport, AsyncTransport, Message, Tokio1Executor,
    message::header::ContentType,
    transport::smtp::{
        authentication::Credentials,
        client::{Tls, TlsParameters},
    },
};
use tokio::time::timeout;

use super::{Alert, post::Refused};
use crate::{
    config::{Mail, MailSecurity},
    http_client::HttpClient,
};

/// From the look-up of the name to the server's last word.
const DEADLINE: Duration = Duration::from_secs(30);

/// Hands a mail to the server. `Ok`: what it said to it.
pub(super) async fn send(client: &HttpClient, mail: &Mail, alert: &Alert) -> Result<String, Refused> {
    let late = |_| Refused::new(format!("the mail was not taken within {} s", DEADLINE.as_secs()), false);
    timeout(DEADLINE, hand_over(client, mail, alert)).await.map_err(late)?
}

async fn hand_over(client: &HttpClient, mail: &Mail, alert: &Alert) -> Result<String, Refused> {
    let message = message(mail, alert)?;
    let address = client.address_of(&mail.host).await?;
    let parameters = || {
        TlsParameters::new_rustls(mail.host.clone())
            .map_err(|error| Refused::new(format!("TLS cannot be set up ({error})"), true))
    };
    let tls = match mail.security {
        MailSecurity::Tls => Tls::Wrapper(parameters()?),
        MailSecurity::StartTls => Tls::Required(parameters()?),
        MailSecurity::None => Tls::None,
    };
    // Dangerous is only that nothing is set; TLS and its name are, and the address has passed the guard.
    let mut transport = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(address.to_string())
        .port(mail.port)
        .tls(tls)
        .timeout(Some(DEADLINE));
    if let Some((user, password)) = &mail.credentials {
        let password = password.expose_str().unwrap_or_default().to_owned();
        transport = transport.credentials(Credentials::new(user.clone(), password));
    }
    let response = transport.build().send(message).await.map_err(|error| {
        // A 5xx of the server is its last word; nothing else is.
        Refused::new(format!("the mail server: {error}"), error.is_permanent())
    })?;
    Ok(format!("{}: {}", response.code(), response.first_line().unwrap_or("taken")))
}

fn message(mail: &Mail, alert: &Alert) -> Result<Message, Refused> {
    let subject: String = alert.subject().chars().map(|c| if c.is_control() { ' ' } else { c }).take(200).collect();
    let domain = mail.from.email.domain();
    let message = mail.to.iter().fold(Message::builder().from(mail.from.clone()), |message, to| message.to(to.clone()));
    message
        .message_id(Some(format!("<{}@{domain}>", alert.id)))
        .subject(subject)
        .header(ContentType::TEXT_PLAIN)
        .body(alert.text())
        .map_err(|error| Refused::new(format!("no mail can be made of it ({error})"), true))
}

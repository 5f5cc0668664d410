//! As much of a browser as a sign-in needs: it follows redirects, keeps cookies and fills in forms.

use std::collections::BTreeMap;

use reqwest::{Client, StatusCode, header, redirect::Policy};
use url::Url;

/// A browser with its cookies, by host and port.
pub(crate) struct Browser {
    client: Client,
    pub(crate) cookies: BTreeMap<String, BTreeMap<String, String>>,
}

/// What it shows.
#[derive(Debug)]
pub(crate) struct Page {
    pub(crate) url: Url,
    pub(crate) status: u16,
    pub(crate) text: String,
    pub(crate) headers: reqwest::header::HeaderMap,
}

impl Browser {
    pub(crate) fn new() -> Self {
        // A connection that rests may be ended by the provider just as a form is sent by it.
        let client = Client::builder().redirect(Policy::none()).pool_max_idle_per_host(0).build().unwrap();
        Self { client, cookies: BTreeMap::new() }
    }

    /// One request, without following where it leads.
    pub(crate) async fn step(&mut self, url: &Url, form: Option<&[(&str, &str)]>) -> Page {
        let mut request = match form {
            Some(form) => {
                let body = serde_urlencoded::to_string(form).unwrap();
                self.client
                    .post(url.clone())
                    .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
                    .body(body)
            }
            None => self.client.get(url.clone()),
        };
        let jar = self.cookies.entry(url.authority().to_owned()).or_default();
        if !jar.is_empty() {
            let pairs: Vec<String> = jar.iter().map(|(name, value)| format!("{name}={value}")).collect();
            request = request.header(header::COOKIE, pairs.join("; "));
        }
        let answer = request.send().await.unwrap();
        for cookie in answer.headers().get_all(header::SET_COOKIE) {
            let cookie = cookie.to_str().unwrap();
            let (name, value) = cookie.split(';').next().unwrap().split_once('=').unwrap();
            if name.starts_with("__Host-") {
                for word in ["Path=/", "Secure", "HttpOnly"] {
                    assert!(cookie.split("; ").any(|part| part == word), "{cookie}");
                }
            }
            if value.is_empty() || cookie.contains("Max-Age=0") {
                jar.remove(name);
            } else {
                jar.insert(name.to_owned(), value.to_owned());
            }
        }
        let status = answer.status().as_u16();
        let headers = answer.headers().clone();
        Page { url: url.clone(), status, headers, text: answer.text().await.unwrap() }
    }

    /// Follows redirects until a page, or until one leads to a URL that begins with `stop`, which is not
    /// opened.
    pub(crate) async fn open(&mut self, url: &str, stop: Option<&str>) -> Page {
        self.follow(url.parse().unwrap(), None, stop).await
    }

    async fn follow(&mut self, url: Url, form: Option<&[(&str, &str)]>, stop: Option<&str>) -> Page {
        let mut page = self.step(&url, form).await;
        for _ in 0..10 {
            let Some(location) = page.headers.get(header::LOCATION) else { return page };
            let next = page.url.join(location.to_str().unwrap()).unwrap();
            if stop.is_some_and(|stop| next.as_str().starts_with(stop)) {
                page.url = next;
                return page;
            }
            page = self.step(&next, None).await;
        }
        panic!("too many redirects: {page:?}");
    }

    /// Signs in at the provider's own pages as `name`, as far as it asks, until it sends back to `stop` or
    /// shows another page.
    pub(crate) async fn authenticate(&mut self, mut page: Page, name: &str, stop: Option<&str>) -> Page {
        let (login, consent) = ([("prompt", "login"), ("login", name), ("password", "any")], [("prompt", "consent")]);
        for form in [&login[..], &consent[..]] {
            if page.url.path().starts_with("/interaction/") {
                page = self.follow(page.url, Some(form), stop).await;
            }
        }
        page
    }

    /// What the gateway at `origin` says of who is signed in; none for nobody.
    pub(crate) async fn who(&mut self, origin: &str) -> Option<serde_json::Value> {
        let page = self.step(&format!("{origin}/api/v1/session").parse().unwrap(), None).await;
        if page.status == StatusCode::UNAUTHORIZED.as_u16() {
            return None;
        }
        Some(serde_json::from_str(&page.text).unwrap())
    }
}

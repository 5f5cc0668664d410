//! The API as `OpenAPI` 3.1, from the table of routes and the types of their handlers.

use std::{collections::BTreeMap, sync::Arc};

use http::Method;
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{
        ArrayBuilder, ComponentsBuilder, Content, ContentBuilder, InfoBuilder, OpenApi, OpenApiBuilder, PathItem,
        PathsBuilder, Ref, RefOr, Required, ResponseBuilder, Schema, SecurityRequirement,
        path::{HttpMethod, OperationBuilder, Parameter, ParameterBuilder, ParameterIn},
        request_body::RequestBody,
        security::{ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityScheme},
    },
};

use super::{
    Api, ApiError,
    access::{Allowed, Grant, Public},
    answer::{Answer, Content as Body},
    error::ErrorBody,
    request::{Call, Route},
    routes,
    session::COOKIE,
};

/// What is known of an operation besides its path.
#[derive(Default)]
pub struct Description {
    pub(super) parameters: Vec<Parameter>,
    pub(super) body: Option<RequestBody>,
    pub(super) gives: Option<(&'static str, Content)>,
    schemas: Vec<(String, RefOr<Schema>)>,
}

impl Description {
    /// Content of this type; its schema is among the components.
    pub(super) fn json<T: ToSchema>(&mut self) -> Content {
        ContentBuilder::new().schema(Some(self.component::<T>())).build()
    }

    /// An array of it.
    pub(super) fn array_of<T: ToSchema>(&mut self) -> Content {
        let rows = ArrayBuilder::new().items(self.component::<T>());
        ContentBuilder::new().schema(Some(rows)).build()
    }

    fn component<T: ToSchema>(&mut self) -> Ref {
        self.schemas.push((T::name().into_owned(), T::schema()));
        T::schemas(&mut self.schemas);
        Ref::from_schema_name(T::name())
    }
}

/// The whole API.
pub fn document() -> OpenApi {
    let mut schemas = BTreeMap::new();
    let mut errors = Description::default();
    let refused = ResponseBuilder::new()
        .description("Refused: `error` is a code, `message` says why")
        .content("application/json", errors.json::<ErrorBody>())
        .build();
    schemas.extend(errors.schemas);
    let mut paths = PathsBuilder::new();
    for route in routes() {
        // The console's files are no API.
        if route.path.starts_with("/api/") || route.summary.starts_with("Health") {
            let (operation, found) = operation(&route, &refused);
            schemas.extend(found);
            paths = paths.path(route.path, PathItem::new(http_method(&route.method), operation));
        }
    }
    let mut bearer = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).build();
    bearer.description = Some("A token of `sluice token add`, or the one in the data folder".to_owned());
    let cookie = ApiKeyValue::with_description(
        COOKIE,
        "The cookie of a session; a change also needs the header `x-sluice-csrf`",
    );
    let components = ComponentsBuilder::new()
        .schemas_from_iter(schemas)
        .security_scheme("token", SecurityScheme::Http(bearer))
        .security_scheme("session", SecurityScheme::ApiKey(ApiKey::Cookie(cookie)))
        .build();
    let info = InfoBuilder::new()
        .title("Sluice")
        .version("1")
        .description(Some(
            "The API of the admin listener. What a caller may not see does not exist for them: a foreign object is 404.",
        ))
        .build();
    OpenApiBuilder::new().info(info).paths(paths).components(Some(components)).build()
}

fn operation(
    route: &Route,
    refused: &utoipa::openapi::Response,
) -> (utoipa::openapi::path::Operation, Vec<(String, RefOr<Schema>)>) {
    let mut description = Description::default();
    for name in route.path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}')) {
        let parameter = ParameterBuilder::new()
            .name(name)
            .parameter_in(ParameterIn::Path)
            .required(Required::True)
            .schema(Some(String::schema()));
        description.parameters.push(parameter.build());
    }
    (route.describe)(&mut description);
    let whom = match route.grant {
        Grant::Anyone => "Anyone.".to_owned(),
        Grant::Scrapers => "Scrapers: with the scrape token where one is configured.".to_owned(),
        Grant::Roles(roles) => format!("Roles: {}.", words(roles)),
        Grant::Whole(roles) => format!("Roles, where they see all tenants: {}.", words(roles)),
    };
    let mut success = ResponseBuilder::new().description("Done");
    if let Some((media, content)) = description.gives {
        success = success.content(media, content);
    }
    let mut operation = OperationBuilder::new()
        .summary(Some(route.summary))
        .description(Some(whom))
        .operation_id(Some(operation_id(route)))
        .parameters(Some(description.parameters))
        .request_body(description.body)
        .response("200", success.build())
        .response("default", refused.clone());
    if !matches!(route.grant, Grant::Anyone) {
        let none: [&str; 0] = [];
        operation = operation
            .security(SecurityRequirement::new("token", none))
            .security(SecurityRequirement::new("session", none));
    }
    (operation.build(), description.schemas)
}

fn words(roles: &[super::access::Role]) -> String {
    roles.iter().map(|role| role.as_str()).collect::<Vec<_>>().join(", ")
}

/// `get_events_id`, from method and path.
fn operation_id(route: &Route) -> String {
    let path = route.path.trim_start_matches("/api/v1");
    let parts = path.split(['/', '-', '{', '}']).filter(|part| !part.is_empty());
    std::iter::once(route.method.as_str().to_lowercase())
        .chain(parts.map(ToOwned::to_owned))
        .collect::<Vec<_>>()
        .join("_")
}

fn http_method(method: &Method) -> HttpMethod {
    match *method {
        Method::POST => HttpMethod::Post,
        Method::DELETE => HttpMethod::Delete,
        _ => HttpMethod::Get,
    }
}

pub(super) async fn show(_: Arc<Api>, _: Allowed<Public>, _: Call<()>) -> Result<Answer, ApiError> {
    let text = document().to_json().map_err(|error| ApiError::Unavailable(error.to_string()))?;
    Ok(Answer::new("application/json", Body::Text(text)))
}

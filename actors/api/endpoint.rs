//! A route as one thing: what answers it, and what the API's document says of it. What a handler takes and
//! gives is told by its types, so that the document cannot tell of anything else; [`routes`](super::routes) lists them.

use std::sync::Arc;

use api_log::access::Scope;
use api_log::described::Param;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::handler::Handler;
use axum::routing::{self, MethodFilter, MethodRouter};
use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, Schema, SchemaGenerator};

use super::State as Api;
use super::errors::{Answer, Problem};
use super::scopes::{self, Needs};

/// A path with everything that can be done with it.
pub(crate) struct Endpoint {
    pub(super) path: &'static str,
    /// It is answered from the index, and tells when that may be incomplete.
    pub(super) is_from_index: bool,
    /// The document tells of it.
    pub(super) is_listed: bool,
    pub(super) operations: Vec<Operation>,
}

impl Endpoint {
    /// A path, and what it may be asked for.
    pub(crate) fn new<const N: usize>(path: &'static str, operations: [Operation; N]) -> Endpoint {
        Endpoint { path, is_from_index: false, is_listed: true, operations: operations.into() }
    }

    /// It is answered from the index.
    pub(crate) fn indexed(self) -> Endpoint {
        Endpoint { is_from_index: true, ..self }
    }

    /// There is nothing to be had: it only says what is wrong with the path.
    pub(crate) fn unlisted(self) -> Endpoint {
        Endpoint { is_listed: false, ..self }
    }

    /// What its requests must show: who needs which scope is the table's to say, for each method.
    pub(super) fn needs(&self) -> Needs {
        let needs = self.operations.first().and_then(|it| scopes::row(it.verb.name(), self.path));
        // What nobody has thought about is not open.
        needs.map_or(Needs::Scope(Scope::Admin), |it| it.needs)
    }

    /// The methods that it takes, as `Allow` names them.
    pub(super) fn allowed(&self) -> String {
        let mut names: Vec<&str> = self.operations.iter().map(|it| it.verb.name()).collect();
        if names.contains(&Verb::Get.name()) {
            names.push("HEAD");
        }
        names.sort_unstable();
        names.join(", ")
    }
}

/// What is done with a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verb {
    /// And HEAD.
    Get,
    Put,
    Post,
    Delete,
}

impl Verb {
    pub(super) fn name(self) -> &'static str {
        match self {
            Verb::Get => "GET",
            Verb::Put => "PUT",
            Verb::Post => "POST",
            Verb::Delete => "DELETE",
        }
    }

    fn filter(self) -> MethodFilter {
        match self {
            Verb::Get => MethodFilter::GET,
            Verb::Put => MethodFilter::PUT,
            Verb::Post => MethodFilter::POST,
            Verb::Delete => MethodFilter::DELETE,
        }
    }
}

/// A status and the code that [`Problem`] gives with it.
pub(crate) type Fault = (u16, &'static str);

/// What can go wrong with any question to the index.
pub(crate) const INDEX: &[Fault] = &[(500, "server_error"), (503, "busy"), (504, "query_timeout")];
/// What can go wrong where a trace is looked up, beside that.
pub(crate) const TRACE: &[Fault] = &[(404, "not_found")];
/// What can go wrong with a line, beside that.
pub(crate) const LINE: &[Fault] = &[(500, "jsonl_read_failed")];

/// One method of a path.
pub(crate) struct Operation {
    pub(super) verb: Verb,
    /// Its name for those who generate clients.
    pub(super) id: &'static str,
    /// What it does, in a sentence.
    pub(super) about: &'static str,
    pub(super) route: MethodRouter<Arc<Api>>,
    pub(super) sketch: fn(&mut Schemas) -> Sketch,
    pub(super) faults: Vec<Fault>,
}

impl Operation {
    /// It may fail so, beside what its types say.
    pub(crate) fn fails(mut self, faults: &[Fault]) -> Operation {
        self.faults.extend_from_slice(faults);
        self
    }
}

/// Answers a method by a handler.
pub(crate) fn on<H, T, I, O>(verb: Verb, id: &'static str, about: &'static str, handler: H) -> Operation
where
    H: Handler<T, Arc<Api>> + Described<I, O>,
    T: 'static,
{
    let route = routing::on(verb.filter(), handler);
    Operation { verb, id, about, route, sketch: H::sketch, faults: Vec::new() }
}

/// Answers GET and HEAD by a handler.
pub(crate) fn get<H, T, I, O>(id: &'static str, about: &'static str, handler: H) -> Operation
where
    H: Handler<T, Arc<Api>> + Described<I, O>,
    T: 'static,
{
    on(Verb::Get, id, about, handler)
}

/// What is known of an operation from its handler's types.
#[derive(Default)]
pub(crate) struct Sketch {
    pub(super) params: Vec<Param>,
    pub(super) headers: Vec<Param>,
    /// A JSON body.
    pub(super) body: Option<Schema>,
    pub(super) replies: Vec<Reply>,
    pub(super) faults: Vec<Fault>,
}

/// An answer that is no [`Problem`].
pub(crate) struct Reply {
    pub(super) status: u16,
    pub(super) about: &'static str,
    /// By media type.
    pub(super) content: Vec<(&'static str, Schema)>,
    pub(super) headers: Vec<Param>,
    /// What a stream of events consists of: their names, the data of each.
    pub(super) events: Vec<(&'static str, Schema)>,
}

impl Reply {
    /// One of this status.
    pub(crate) fn new(status: u16, about: &'static str) -> Reply {
        Reply { status, about, content: Vec::new(), headers: Vec::new(), events: Vec::new() }
    }

    /// With content of this type.
    pub(crate) fn of(mut self, media_type: &'static str, schema: Schema) -> Reply {
        self.content.push((media_type, schema));
        self
    }

    /// With a field.
    pub(crate) fn with(mut self, field: Param) -> Reply {
        self.headers.push(field);
        self
    }
}

/// The schemas of everything that the document tells of, each once by its name.
pub(crate) struct Schemas {
    /// Of what is sent.
    pub(super) given: SchemaGenerator,
    /// Of what is taken.
    pub(super) taken: SchemaGenerator,
}

impl Schemas {
    pub(super) fn new() -> Schemas {
        let settings = || {
            SchemaSettings::draft2020_12().with(|it| {
                it.definitions_path = "/components/schemas".into();
                it.meta_schema = None;
            })
        };
        Schemas {
            given: settings().for_serialize().into_generator(),
            taken: settings().for_deserialize().into_generator(),
        }
    }

    /// The schema of a type as it is sent.
    pub(crate) fn of<T: JsonSchema>(&mut self) -> Schema {
        self.given.subschema_for::<T>()
    }
}

/// What a handler's argument says of the request.
pub(crate) trait Input {
    fn sketch(_sketch: &mut Sketch, _schemas: &mut Schemas) {}
}

/// What a handler's result says of the answer.
pub(crate) trait Output {
    fn replies(schemas: &mut Schemas) -> Vec<Reply>;
}

/// A handler whose types say everything.
pub(crate) trait Described<I, O> {
    fn sketch(schemas: &mut Schemas) -> Sketch;
}

macro_rules! described {
    ($($input:ident),*) => {
        impl<F, R, $($input),*> Described<($($input,)*), R::Output> for F
        where
            F: FnOnce($($input),*) -> R,
            R: Future,
            R::Output: Output,
            $($input: Input,)*
        {
            fn sketch(schemas: &mut Schemas) -> Sketch {
                let mut sketch = Sketch::default();
                $($input::sketch(&mut sketch, schemas);)*
                sketch.replies = R::Output::replies(schemas);
                sketch
            }
        }
    };
}

described!();
described!(A);
described!(A, B);
described!(A, B, C);
described!(A, B, C, D);

impl<T> Input for State<T> {}

/// What stands in a path is told by the path.
impl<T> Input for Result<Path<T>, PathRejection> {}

impl<T: Output> Output for Result<T, Problem> {
    fn replies(schemas: &mut Schemas) -> Vec<Reply> {
        T::replies(schemas)
    }
}

impl Output for Problem {
    fn replies(_: &mut Schemas) -> Vec<Reply> {
        Vec::new()
    }
}

impl<T: JsonSchema> Output for Answer<T> {
    fn replies(schemas: &mut Schemas) -> Vec<Reply> {
        vec![Reply::new(200, "What was asked for.").of("application/json", schemas.of::<T>())]
    }
}

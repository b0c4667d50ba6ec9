//! A request's body: taken as it comes, for each route says in its own words what is wrong with it.

use std::convert::Infallible;
use std::marker::PhantomData;
use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{FromRequest, Request};
use schemars::JsonSchema;

use super::State as Api;
use super::endpoint::{Input, Schemas, Sketch};

/// A body that should be a `B`, in JSON of any content type.
pub(crate) struct Sent<B> {
    /// What came.
    pub(crate) bytes: Result<Bytes, BytesRejection>,
    _is: PhantomData<B>,
}

impl<B> FromRequest<Arc<Api>> for Sent<B> {
    type Rejection = Infallible;

    async fn from_request(request: Request, api: &Arc<Api>) -> Result<Sent<B>, Infallible> {
        Ok(Sent { bytes: Bytes::from_request(request, api).await, _is: PhantomData })
    }
}

impl<B: JsonSchema> Input for Sent<B> {
    fn sketch(sketch: &mut Sketch, schemas: &mut Schemas) {
        sketch.body = Some(schemas.taken.subschema_for::<B>());
        sketch.faults.push((400, "bad_body"));
    }
}

//! What a call takes and gives: its entry in the OpenAPI document, written beside the call.

use serde_json::{Map, Value, json};

/// An operation of the OpenAPI document (OpenAPI 3.1 §4.8.10).
#[derive(Clone, Debug)]
pub(crate) struct Operation {
    summary: &'static str,
    description: Option<String>,
    tag: Option<&'static str>,
    parameters: Vec<Value>,
    body: Option<&'static str>,
    responses: Map<String, Value>,
}

impl Operation {
    /// An operation that may be refused in weir's own form.
    pub(crate) fn new(summary: &'static str) -> Self {
        let operation = Self {
            summary,
            description: None,
            tag: None,
            parameters: Vec::new(),
            body: None,
            responses: Map::new(),
        };
        operation.answer_as("default", "Refused.", "Error")
    }

    /// What the summary leaves out.
    pub(crate) fn described(mut self, description: impl Into<String>) -> Self {
        self.description = Some(description.into());
        self
    }

    /// The API that it belongs to; weir's own calls name none.
    pub(crate) fn tagged(mut self, tag: &'static str) -> Self {
        self.tag = Some(tag);
        self
    }

    /// A parameter in the path.
    pub(crate) fn path(self, name: &str, description: &str) -> Self {
        self.parameter(json!({
            "name": name, "in": "path", "required": true, "description": description,
            "schema": {"type": "string"},
        }))
    }

    /// A parameter in the path whose name says it all.
    pub(crate) fn bare_path(self, name: &str) -> Self {
        let schema = json!({"type": "string"});
        self.parameter(json!({"name": name, "in": "path", "required": true, "schema": schema}))
    }

    /// A parameter of the query that may be left out.
    pub(crate) fn query(self, name: &str, description: &str) -> Self {
        self.in_query(name, false, description)
    }

    /// A parameter that the query must have.
    pub(crate) fn required_query(self, name: &str, description: &str) -> Self {
        self.in_query(name, true, description)
    }

    fn in_query(self, name: &str, required: bool, description: &str) -> Self {
        self.parameter(json!({
            "name": name, "in": "query", "required": required, "description": description,
            "schema": {"type": "string"},
        }))
    }

    fn parameter(mut self, parameter: Value) -> Self {
        self.parameters.push(parameter);
        self
    }

    /// A body of JSON, which the schema of this name describes.
    pub(crate) fn body(mut self, schema: &'static str) -> Self {
        self.body = Some(schema);
        self
    }

    /// An answer of some JSON object.
    pub(crate) fn answer(self, status: &str, description: &str) -> Self {
        self.answer_in(status, description, "application/json", json!({"type": "object"}))
    }

    /// An answer of JSON, which the schema of this name describes.
    pub(crate) fn answer_as(self, status: &str, description: &str, schema: &str) -> Self {
        self.answer_in(status, description, "application/json", reference(schema))
    }

    /// An answer of any media type.
    pub(crate) fn answer_in(
        mut self,
        status: &str,
        description: &str,
        media_type: &str,
        schema: Value,
    ) -> Self {
        let content = json!({media_type: {"schema": schema}});
        let response = json!({"description": description, "content": content});
        self.responses.insert(status.to_owned(), response);
        self
    }

    /// Another media type of an answer.
    pub(crate) fn also_in(mut self, status: &str, media_type: &str, schema: Value) -> Self {
        if let Some(answer) = self.responses.get_mut(status) {
            answer["content"][media_type] = json!({"schema": schema});
        }
        self
    }

    /// An answer without a body.
    pub(crate) fn answer_empty(mut self, status: &str, description: &str) -> Self {
        self.responses.insert(status.to_owned(), json!({"description": description}));
        self
    }

    /// Without a word about refusals.
    pub(crate) fn without_refusal(mut self) -> Self {
        self.responses.remove("default");
        self
    }

    /// As the document has it.
    pub(crate) fn value(&self) -> Map<String, Value> {
        let Self { summary, description, tag, parameters, body, responses } = self;
        let mut value = Map::new();
        let mut put = |name: &str, member: Value| drop(value.insert(name.to_owned(), member));
        put("summary", json!(summary));
        put("responses", Value::Object(responses.clone()));
        if let Some(description) = description {
            put("description", json!(description));
        }
        if let Some(tag) = tag {
            put("tags", json!([tag]));
        }
        if !parameters.is_empty() {
            put("parameters", json!(parameters));
        }
        if let Some(schema) = body {
            let content = json!({"application/json": {"schema": reference(schema)}});
            put("requestBody", json!({"required": true, "content": content}));
        }
        value
    }
}

/// Where a schema of this name is in the document.
pub(crate) fn reference(schema: &str) -> Value {
    json!({"$ref": format!("#/components/schemas/{schema}")})
}

//! Pages with one form, and those that come before or after one.

use super::{
    super::page::{Shell, page, page_with},
    Field, Group, Wrong,
};
use crate::auth::Session;
use askama::Template;
use axum::{http::StatusCode, response::Response};

/// A page with one form.
#[derive(Template)]
#[template(path = "form.html")]
pub(in crate::console) struct FormPage {
    shell: Shell,
    csrf: String,
    problem: Option<Problem>,
    pub(in crate::console) parent: Option<(String, String)>,
    pub(in crate::console) text: &'static str,
    pub(in crate::console) facts: Option<Facts>,
    pub(in crate::console) action: String,
    pub(in crate::console) button: &'static str,
    /// A second button, which shows what would be and saves nothing.
    pub(in crate::console) look: Option<&'static str>,
    pub(in crate::console) back: String,
    pub(in crate::console) fields: Vec<Field>,
    pub(in crate::console) groups: Vec<Group>,
}

/// What stands above the form.
struct Problem {
    text: String,
    /// The field that has it.
    field: Option<&'static str>,
}

/// What the form as it is comes to.
pub(in crate::console) struct Facts {
    pub(in crate::console) title: String,
    pub(in crate::console) text: &'static str,
    pub(in crate::console) facts: Vec<(&'static str, String)>,
}

/// The name of the second button, in what is sent.
pub(in crate::console) const LOOK: &str = "look";

impl FormPage {
    pub(in crate::console) fn new(
        session: &Session,
        section: &'static str,
        title: impl Into<String>,
        action: &str,
        back: &str,
        fields: Vec<Field>,
    ) -> Self {
        Self {
            shell: Shell::new(session, section, title),
            csrf: session.csrf(),
            problem: None,
            parent: None,
            text: "",
            facts: None,
            action: action.to_owned(),
            button: "Save",
            look: None,
            back: back.to_owned(),
            fields,
            groups: Vec::new(),
        }
    }

    /// With what is wrong, if something is: beside its field, or above all.
    pub(in crate::console) fn answer(mut self, wrong: Option<Wrong>) -> Response {
        let Some(wrong) = wrong else { return page(&self) };
        let folded = self.groups.iter_mut().flat_map(|group| &mut group.fields);
        self.problem = Some(match Field::mark(self.fields.iter_mut().chain(folded), &wrong) {
            Some(field) => {
                Problem { text: format!("{}: {}.", field.label, wrong.problem), field: Some(field.name) }
            }
            None => {
                Problem { text: format!("{} {}", wrong.field, wrong.problem).trim().to_owned(), field: None }
            }
        });
        page_with(StatusCode::UNPROCESSABLE_ENTITY, &self)
    }
}

/// Asks before something ends.
pub(in crate::console) struct Question {
    pub(in crate::console) title: String,
    pub(in crate::console) text: String,
    pub(in crate::console) action: String,
    pub(in crate::console) button: &'static str,
    pub(in crate::console) back: String,
}

#[derive(Template)]
#[template(path = "confirm.html")]
struct Confirm {
    shell: Shell,
    csrf: String,
    text: String,
    action: String,
    button: &'static str,
    back: String,
}

impl Question {
    pub(in crate::console) fn page(self, session: &Session, section: &'static str) -> Response {
        let Self { title, text, action, button, back } = self;
        let shell = Shell::new(session, section, title);
        page(&Confirm { shell, csrf: session.csrf(), text, action, button, back })
    }
}

/// Shows a secret, this once.
#[derive(Template)]
#[template(path = "secret.html")]
pub(in crate::console) struct SecretPage {
    pub(in crate::console) shell: Shell,
    pub(in crate::console) text: &'static str,
    pub(in crate::console) secret: String,
    pub(in crate::console) after: String,
    pub(in crate::console) back: String,
}

//! Settings that say who may call and how much. For a gateway that joined a control plane that is said there, so they are
//! refused by name: two that decide the same would be one too many.

use super::{Environment, Problem};
use crate::{cli::ServeArgs, enrolment::folder};

pub(super) fn refused(args: &ServeArgs, environment: &Environment) -> Vec<Problem> {
    const NAMES: [&str; 6] =
        ["OIDC_ISSUER", "OIDC_AUD", "KEYS_FILE", "MAX_TOKENS_PER_MIN", "WINDOW", "REDIS_URL"];
    let set = NAMES.into_iter().filter(|name| environment.get(name).is_some());
    let remedy = |what: &str| {
        format!(
            "{what} To serve without the control plane, take another --state folder, or move {} away.",
            folder(&args.state).display()
        )
    };
    let problem = |name: &str, what: &str| {
        Problem::new(
            name,
            "is set, but this gateway has joined a control plane, which decides that",
            remedy(what),
        )
    };
    set.map(|name| problem(name, "Unset it (it may stand in .env)."))
        .chain(args.config.as_ref().map(|_| problem("--config", "Leave it out.")))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::Cli;
    use clap::Parser as _;

    #[test]
    fn each_setting_that_the_control_plane_decides_is_refused_by_name() {
        let cli = Cli::parse_from(["attach-gateway", "--config", "bundle.yaml", "--upstream", "http://gpu"]);
        let environment = Environment::from([
            ("OIDC_ISSUER", "https://login.example"),
            ("KEYS_FILE", "keys.json"),
            ("REDIS_URL", "redis://r"),
            ("WINDOW", ""),
            ("ENGINE_URL", "http://gpu"),
        ]);
        let problems = refused(&cli.serve, &environment);
        let names: Vec<_> = problems.iter().map(|problem| problem.setting.as_str()).collect();
        assert_eq!(names, ["OIDC_ISSUER", "KEYS_FILE", "REDIS_URL", "--config"]);
        assert!(problems.iter().all(|problem| problem.remedy.contains(".attach/enrolment")));
    }
}

//! Engines' control routes, which go through no gateway, whoever opens them: who reaches one owns the engine, or reads what
//! other callers sent to it.

use super::pattern::below;

/// Without the version before them (`/v1`), and with all that is below them.
pub const NEVER: &[&str] = &[
    // vLLM: how the engine runs. Its own key guards none of these.
    "/pause",
    "/resume",
    "/is_paused",
    "/sleep",
    "/wake_up",
    "/is_sleeping",
    "/collective_rpc",
    "/abort_requests",
    "/scale_elastic_ep",
    "/is_scaling_elastic_ep",
    "/start_profile",
    "/stop_profile",
    "/server_info",
    "/load",
    // vLLM: what it runs.
    "/init_weight_transfer_engine",
    "/start_weight_update",
    "/update_weights",
    "/finish_weight_update",
    "/get_world_size",
    "/load_lora_adapter",
    "/unload_lora_adapter",
    "/reset_prefix_cache",
    "/reset_mm_cache",
    "/reset_encoder_cache",
    // vLLM: takes the body of any other route, so that what was checked is not what runs.
    "/invocations",
    "/ping",
    // Servers behind the OpenAI API: the same by other names.
    "/flush_cache",
    "/get_server_info",
    "/get_internal_state",
    "/set_internal_state",
    "/update_weights_from_disk",
    "/update_weights_from_distributed",
    "/update_weights_from_tensor",
    "/update_weight_version",
    "/init_weights_update_group",
    "/destroy_weights_update_group",
    "/get_weights_by_name",
    "/release_memory_occupation",
    "/resume_memory_occupation",
    "/slow_down",
    "/pause_generation",
    "/continue_generation",
    "/abort_request",
    "/configure_logging",
    "/start_expert_distribution_record",
    "/stop_expert_distribution_record",
    "/dump_expert_distribution_record",
    // llama.cpp: other callers' prompts, the server's settings, its models, a proxy to anywhere.
    "/slots",
    "/props",
    "/lora-adapters",
    "/models/load",
    "/models/unload",
    "/cors-proxy",
    "/tools",
    // Ollama: whose account it is, and where names lead.
    "/api/me",
    "/api/signout",
    "/api/user",
    "/api/experimental/aliases",
    // All: numbers and names of every caller.
    "/metrics",
    "/debug",
    "/docs",
    "/redoc",
    "/openapi.json",
];

/// Whether a path leads to one, in any case and after any version.
pub fn is_never(path: &str) -> bool {
    let path = folded(path);
    NEVER.iter().any(|never| path == *never || below(&path, never).is_some())
}

/// Whether one is below this path.
pub fn is_never_below(path: &str) -> bool {
    let path = folded(path);
    is_never(&path) || NEVER.iter().any(|never| below(never, &path).is_some())
}

/// In lower case, without the version and the last slash.
fn folded(path: &str) -> String {
    let path = path.to_ascii_lowercase();
    let path = path.trim_end_matches('/');
    let is_version = |segment: &str| {
        segment
            .strip_prefix('v')
            .is_some_and(|n| !n.is_empty() && n.bytes().all(|byte| byte.is_ascii_digit()))
    };
    let Some(rest) = path.strip_prefix('/') else { return path.to_owned() };
    let (first, rest) = rest.split_once('/').unwrap_or((rest, ""));
    match (is_version(first), rest) {
        (false, _) => path.to_owned(),
        (true, "") => String::new(),
        (true, rest) => format!("/{rest}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::route::{TABLE, find};

    #[test]
    fn a_control_route_is_never_open_under_any_version_case_or_slash_nor_what_is_below_it() {
        for path in [
            "/pause",
            "/PAUSE",
            "/pause/",
            "/v1/pause",
            "/v2/pause",
            "/slots/0",
            "/v1/load_lora_adapter",
            "/debug/pprof/heap",
            "/api/user/keys/x",
            "/models/load",
            "/v1/models/load",
            "/metrics",
        ] {
            assert!(is_never(path), "{path}");
        }
        for path in ["/v1/images/generations", "/pauses", "/v1", "/x/pause", "/v1/models/loaded", "/"] {
            assert!(!is_never(path), "{path}");
        }
        for path in ["/v1", "/api", "/api/experimental", "/models", "/v1/models", "/slots/x"] {
            assert!(is_never_below(path), "{path}");
        }
        assert!(!is_never_below("/v1/images"));
    }

    #[test]
    fn nothing_in_the_table_is_a_control_route() {
        for route in TABLE {
            assert!(!is_never(route.path), "{}", route.path);
        }
        for never in NEVER {
            assert!(find(never).is_none() && find(&format!("/v1{never}")).is_none(), "{never}");
        }
    }
}

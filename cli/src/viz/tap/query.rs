//! What is tapped: the options of `tap` and `top`, and the path of the tap API that they mean.

use anyhow::{Result, bail};
use clap::Args;
use weft_api::viz::{ResourceRef, ResourceType, Selector};

use crate::viz::{access::Viz, notes, notes::say, resource::Target, selector::resources};

/// Which calls are seen.
#[derive(Debug, Args)]
pub(crate) struct CallOptions {
    /// TYPE/NAME, TYPE NAME, or a TYPE: all resources of the type in the namespace
    #[arg(required = true, value_name = "RESOURCE")]
    resources: Vec<String>,
    /// Only requests to this resource: TYPE/NAME
    #[arg(long, value_name = "RESOURCE")]
    to: Option<String>,
    /// The namespace of --to; otherwise the same as that of the resources
    #[arg(long, value_name = "NAMESPACE", requires = "to")]
    to_namespace: Option<String>,
    /// Only resources with these labels, as in app=web
    #[arg(short = 'l', long, value_name = "LABELS")]
    selector: Option<Selector>,
    /// At most so many requests per second, over all pods; 100 is the most
    #[arg(long, value_name = "RPS", default_value_t = 100.0, value_parser = rate)]
    max_rps: f64,
    /// Only requests with this scheme: http or https
    #[arg(long, value_name = "SCHEME", value_parser = ["http", "https"])]
    scheme: Option<String>,
    /// Only requests with this method
    #[arg(long, value_name = "METHOD", value_parser = method)]
    method: Option<String>,
    /// Only requests with this authority (the Host) as the client wrote it, such as web-svc.emojivoto; with a port only
    /// if the client wrote one
    #[arg(long, value_name = "AUTHORITY", value_parser = authority)]
    authority: Option<String>,
    /// Only requests whose path begins like this, such as /api
    #[arg(long, value_name = "PATH", value_parser = path)]
    path: Option<String>,
}

fn rate(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(rate) if rate > 0.0 && rate <= 100.0 => Ok(rate),
        _ => Err("write a number above 0, and at most 100".to_owned()),
    }
}

fn method(text: &str) -> Result<String, String> {
    match http::Method::from_bytes(text.to_uppercase().as_bytes()) {
        Ok(method) => Ok(method.to_string()),
        Err(_) => Err("this is no method of HTTP; write one such as GET".to_owned()),
    }
}

fn authority(text: &str) -> Result<String, String> {
    match text.parse::<http::uri::Authority>() {
        Ok(authority) if !authority.as_str().contains('@') => Ok(text.to_owned()),
        _ => Err("no request has it; write HOST or HOST:PORT, without http:// and without a path".to_owned()),
    }
}

fn path(text: &str) -> Result<String, String> {
    match text.starts_with('/') {
        true => Ok(text.to_owned()),
        false => Err(format!("no path begins like this; write /{text}")),
    }
}

impl CallOptions {
    /// What the options ask for, before anything is asked.
    pub(crate) fn targets(&self) -> Result<Vec<Target>> {
        self.to.as_deref().map(Target::parse).transpose()?;
        Target::parse_all(&self.resources)
    }

    /// The resources as they were written.
    pub(crate) fn words(&self) -> String {
        self.resources.join(" ")
    }

    /// The options that leave calls out, as they were written.
    pub(crate) fn filters(&self) -> Vec<String> {
        let all = [
            ("to", &self.to),
            ("scheme", &self.scheme),
            ("method", &self.method),
            ("authority", &self.authority),
            ("path", &self.path),
        ];
        all.iter().filter_map(|(name, value)| Some(format!("--{name} {}", value.as_ref()?))).collect()
    }

    /// Says that the server kept events back.
    pub(crate) fn say_missing(&self, events: u64) {
        let what = if events == 1 { "1 event is missing" } else { &format!("{events} events are missing") };
        say(&format!(
            "{what}: there were more requests than --max-rps {} lets through, or they were not read fast enough.",
            self.max_rps
        ));
    }

    /// A path of the tap API for each resource.
    pub(crate) async fn paths(&self, viz: &Viz, targets: &[Target]) -> Result<Vec<String>> {
        let mut found = Vec::new();
        for target in targets {
            found.extend(resources(viz, &viz.namespace, target, self.selector.as_ref()).await?);
        }
        if found.is_empty() {
            bail!(
                "{}",
                notes::no_such(viz, Some(&viz.namespace), "such resources").await?.trim_end_matches('.')
            );
        }
        let to = match &self.to {
            Some(text) => {
                let namespace = self.to_namespace.as_deref().unwrap_or(&viz.namespace);
                Some(Target::parse(text)?.resource(namespace)?)
            }
            None => None,
        };
        // Each tap has its share of the limit.
        let share = self.max_rps / found.len() as f64;
        Ok(found.iter().map(|resource| self.path(resource, to.as_ref(), share)).collect())
    }

    fn path(&self, resource: &ResourceRef, to: Option<&ResourceRef>, max_rps: f64) -> String {
        let ResourceRef { namespace, kind, name } = resource;
        let mut query = form_urlencoded::Serializer::new(String::new());
        query
            .append_pair("namespace", namespace)
            .append_pair("type", kind.as_str())
            .append_pair("name", name);
        if let Some(to) = to {
            query.append_pair("to_namespace", &to.namespace);
            query.append_pair("to_type", to.kind.as_str()).append_pair("to_name", &to.name);
        }
        let filters = [
            ("scheme", &self.scheme),
            ("method", &self.method),
            ("authority", &self.authority),
            ("path", &self.path),
        ];
        for (filter, value) in filters {
            if let Some(value) = value {
                query.append_pair(filter, value);
            }
        }
        query.append_pair("max_rps", &max_rps.to_string());
        let query = query.finish();
        let base = "/apis/tap.linkerd.io/v1alpha1/watch/namespaces";
        match kind {
            ResourceType::Namespace => format!("{base}/{name}/tap?{query}"),
            kind => format!("{base}/{namespace}/{}/{name}/tap?{query}", kind.plural()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options() -> CallOptions {
        CallOptions {
            resources: vec!["deploy/web".to_owned()],
            to: None,
            to_namespace: None,
            selector: None,
            max_rps: 100.0,
            scheme: None,
            method: None,
            authority: None,
            path: Some("/api/vote?choice=:doughnut:".to_owned()),
        }
    }

    #[test]
    fn the_path_names_the_resource_and_the_query_has_the_filters() {
        let web = ResourceRef::new("emojivoto", ResourceType::Deployment, "web");
        let voting = ResourceRef::new("emojivoto", ResourceType::Service, "voting-svc");
        assert_eq!(
            options().path(&web, Some(&voting), 50.0),
            "/apis/tap.linkerd.io/v1alpha1/watch/namespaces/emojivoto/deployments/web/tap?namespace=emojivoto\
             &type=deployment&name=web&to_namespace=emojivoto&to_type=service&to_name=voting-svc\
             &path=%2Fapi%2Fvote%3Fchoice%3D%3Adoughnut%3A&max_rps=50"
        );
        let path = CallOptions { path: None, ..options() }.path(&ResourceRef::namespace("shop"), None, 100.0);
        assert_eq!(
            path,
            "/apis/tap.linkerd.io/v1alpha1/watch/namespaces/shop/tap?namespace=shop&type=namespace&name=shop&max_rps=100"
        );
    }

    #[test]
    fn filters_that_no_request_matches_are_refused() {
        assert_eq!(method("get"), Ok("GET".to_owned()));
        assert!(method("G T").is_err());
        for good in ["web-svc.emojivoto", "web-svc.emojivoto:80", "[fd00::1]:80"] {
            assert_eq!(authority(good), Ok(good.to_owned()));
        }
        for bad in ["", "http://web-svc", "web-svc/api", "user@web-svc"] {
            assert!(authority(bad).is_err(), "{bad}");
        }
        assert_eq!(path("/api"), Ok("/api".to_owned()));
        assert!(path("api/vote").unwrap_err().contains("write /api/vote"));
    }

    #[test]
    fn a_limit_above_100_is_refused() {
        assert_eq!(rate("0.5"), Ok(0.5));
        assert!(rate("101").is_err() && rate("0").is_err() && rate("NaN").is_err());
    }
}

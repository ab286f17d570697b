//! The options that set what applies to the whole cluster, where no annotation says otherwise.

use std::collections::BTreeMap;

use clap::{Args, builder::TypedValueParser};
use weft_control::settings::Annotations;

/// Each option is the value of an annotation.
#[derive(Debug, Args)]
#[command(next_help_heading = "Where no annotation says otherwise")]
pub(crate) struct Defaults {
    /// Who may connect to the ports of pods
    #[arg(
        long,
        value_name = "POLICY",
        default_value = "all-unauthenticated",
        env = "WEFT_CONTROL_DEFAULT_INBOUND_POLICY",
        value_parser = value_of(DEFAULT_INBOUND_POLICY)
    )]
    default_inbound_policy: String,
    /// Ports whose protocol is not detected: numbers and ranges
    #[arg(
        long,
        value_name = "PORT,…",
        default_value = "25,587,3306,4444,5432,6379,9300,11211",
        env = "WEFT_CONTROL_OPAQUE_PORTS",
        // Names would mean something else in each pod.
        value_parser = value_of(SKIP_INBOUND_PORTS)
    )]
    opaque_ports: String,
    /// Ports to which connections go directly
    #[arg(
        long,
        value_name = "PORT,…",
        default_value = "4567,4568",
        env = "WEFT_CONTROL_SKIP_INBOUND_PORTS",
        value_parser = value_of(SKIP_INBOUND_PORTS)
    )]
    skip_inbound_ports: String,
    /// Ports that pods connect to directly
    #[arg(
        long,
        value_name = "PORT,…",
        default_value = "4567,4568",
        env = "WEFT_CONTROL_SKIP_OUTBOUND_PORTS",
        value_parser = value_of(SKIP_OUTBOUND_PORTS)
    )]
    skip_outbound_ports: String,
    /// Networks to and from which connections go directly
    #[arg(
        long,
        value_name = "CIDR,…",
        default_value = "",
        env = "WEFT_CONTROL_SKIP_SUBNETS",
        value_parser = value_of(SKIP_SUBNETS)
    )]
    skip_subnets: String,
    /// Ports that only clients with an identity may connect to
    #[arg(
        long,
        value_name = "PORT,…",
        default_value = "",
        env = "WEFT_CONTROL_REQUIRE_IDENTITY_ON_INBOUND_PORTS",
        value_parser = value_of(REQUIRE_IDENTITY)
    )]
    require_identity_on_inbound_ports: String,
    /// How requests to pods are logged: apache, json, or not at all
    #[arg(
        long,
        value_name = "FORMAT",
        default_value = "",
        env = "WEFT_CONTROL_ACCESS_LOG",
        value_parser = value_of(ACCESS_LOG)
    )]
    access_log: String,
}

const DEFAULT_INBOUND_POLICY: &str = "config.linkerd.io/default-inbound-policy";
const OPAQUE_PORTS: &str = "config.linkerd.io/opaque-ports";
const SKIP_INBOUND_PORTS: &str = "config.linkerd.io/skip-inbound-ports";
const SKIP_OUTBOUND_PORTS: &str = "config.linkerd.io/skip-outbound-ports";
const SKIP_SUBNETS: &str = "config.linkerd.io/skip-subnets";
const REQUIRE_IDENTITY: &str = "config.linkerd.io/proxy-require-identity-inbound-ports";
const ACCESS_LOG: &str = "config.linkerd.io/access-log";

impl Defaults {
    pub(crate) fn annotations(&self) -> Annotations {
        let values = [
            (DEFAULT_INBOUND_POLICY, &self.default_inbound_policy),
            (OPAQUE_PORTS, &self.opaque_ports),
            (SKIP_INBOUND_PORTS, &self.skip_inbound_ports),
            (SKIP_OUTBOUND_PORTS, &self.skip_outbound_ports),
            (SKIP_SUBNETS, &self.skip_subnets),
            (REQUIRE_IDENTITY, &self.require_identity_on_inbound_ports),
            (ACCESS_LOG, &self.access_log),
        ];
        let values = values.map(|(name, value)| (name.to_owned(), value.clone()));
        // The options have been checked by the same rules.
        Annotations::parse(Some(&BTreeMap::from(values))).0
    }
}

/// Accepts what the annotation may be.
fn value_of(annotation: &'static str) -> impl TypedValueParser<Value = String> {
    clap::builder::StringValueParser::new().try_map(move |value| {
        let one = BTreeMap::from([(annotation.to_owned(), value.clone())]);
        match Annotations::parse(Some(&one)).1.pop() {
            Some(bad) => Err(format!("{}; {}", bad.reason, bad.advice)),
            None => Ok(value),
        }
    })
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use weft_control::settings::{Policy, PortNames, PortSet};

    use super::*;

    #[derive(Debug, Parser)]
    struct Command {
        #[command(flatten)]
        defaults: Defaults,
    }

    #[test]
    fn without_options_the_defaults_are_linkerds() {
        let read = Command::parse_from(["weft-control"]).defaults.annotations();
        assert_eq!(read.default_inbound_policy, Some(Policy::AllUnauthenticated));
        let opaque = "25,587,3306,4444,5432,6379,9300,11211";
        assert_eq!(read.opaque_ports, Some(PortNames::parse(opaque).unwrap()));
        assert_eq!(read.skip_inbound_ports, Some(PortSet::parse("4567,4568").unwrap()));
        assert_eq!(read.skip_outbound_ports, Some(PortSet::parse("4567,4568").unwrap()));
    }

    #[test]
    fn a_list_of_ports_may_be_empty() {
        let read = Command::parse_from(["weft-control", "--skip-inbound-ports", ""]).defaults.annotations();
        assert_eq!(read.skip_inbound_ports, Some(PortSet::default()));
    }

    #[test]
    fn a_bad_value_is_refused_with_advice() {
        for (option, value, advice) in [
            ("--default-inbound-policy", "open", "write one of all-unauthenticated"),
            ("--opaque-ports", "mysql", "write ports and ranges"),
            ("--skip-inbound-ports", "9-8", "ends before it starts"),
            ("--skip-subnets", "10.0.0.0", "write CIDRs"),
            ("--access-log", "xml", "write apache or json"),
        ] {
            let error = Command::try_parse_from(["weft-control", option, value]).unwrap_err().to_string();
            assert!(error.contains(advice) && error.contains(option), "{error}");
        }
    }
}

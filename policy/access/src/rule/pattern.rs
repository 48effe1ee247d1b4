//! The small languages of a rule: resources, actions, workloads, paths, lengths of time. What is not understood is an
//! error at load, never a pattern that matches nothing.

use std::time::Duration;

use model::request::Action;
use model::spiffe::SpiffePattern;

use crate::rbac::Attributes;

/// `resource[.group][/subresource]` with stars in the places where they have a meaning.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ResourcePattern {
    resource: Part,
    /// `None`: any group.
    group: Option<Box<str>>,
    /// The subresource; `Part::Any` covers the resource itself too.
    subresource: Part,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Any,
    Exactly(Box<str>),
}

impl Part {
    fn covers(&self, text: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Exactly(own) => own.as_ref() == text,
        }
    }
}

impl ResourcePattern {
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let (object, subresource) = match text.split_once('/') {
            Some((object, subresource)) => (object, Some(subresource)),
            None => (text, None),
        };
        let (resource, group) = match object.split_once('.') {
            Some((resource, group)) => (resource, Some(group)),
            None => (object, None),
        };
        for part in [Some(resource), group, subresource].into_iter().flatten() {
            check_part(text, part)?;
        }
        if group == Some("*") || subresource == Some("*") {
            return Err(format!(
                "`{text}`: a star may stand for the resource only; list what is meant"
            ));
        }
        let any = resource == "*";
        Ok(Self {
            resource: if any { Part::Any } else { Part::Exactly(resource.into()) },
            // A resource without a group is of the core group; a star without one is of any.
            group: if any && group.is_none() {
                None
            } else {
                Some(group.unwrap_or_default().into())
            },
            subresource: match subresource {
                Some(subresource) => Part::Exactly(subresource.into()),
                None if any => Part::Any,
                None => Part::Exactly("".into()),
            },
        })
    }

    /// Whether it names one resource, without star.
    pub(super) const fn is_one(&self) -> bool {
        matches!(self.resource, Part::Exactly(_))
    }

    /// Whether it covers objects themselves, not a subresource alone.
    pub(super) fn covers_objects(&self) -> bool {
        self.subresource.covers("")
    }

    /// Whether it covers something of this resource, be it a subresource.
    pub(super) fn covers_some_of(&self, group: &str, resource: &str) -> bool {
        self.resource.covers(resource) && self.group.as_deref().is_none_or(|own| own == group)
    }

    /// Whether it may cover a subresource of which only the API that serves it knows what it does, such as the console of a
    /// virtual machine. Kubernetes' own groups have none; `status` and `scale` are the same everywhere.
    pub(super) fn may_be_a_subresource_of_another_api(&self) -> bool {
        const OWN: [&str; 7] = ["", "apps", "autoscaling", "batch", "extensions", "policy", "k8s.io"];
        let is_known = match &self.subresource {
            Part::Any => false,
            Part::Exactly(subresource) => matches!(subresource.as_ref(), "" | "status" | "scale"),
        };
        let is_own = |group: &str| OWN.contains(&group) || group.ends_with(".k8s.io");
        !is_known && !self.group.as_deref().is_some_and(is_own)
    }

    pub(super) fn covers(&self, asked: &Attributes<'_>) -> bool {
        self.resource.covers(asked.resource)
            && self.subresource.covers(asked.subresource)
            && self.group.as_deref().is_none_or(|group| group == asked.group)
    }
}

fn check_part(whole: &str, part: &str) -> Result<(), String> {
    if part.is_empty() || part.contains('/') {
        return Err(format!("`{whole}` is not of the form `resource[.group][/subresource]`"));
    }
    if part.contains('*') && part != "*" {
        return Err(format!(
            "`{whole}`: a star stands for a whole name, never for a part of one"
        ));
    }
    match part
        .bytes()
        .find(|byte| !(byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-.*".contains(byte)))
    {
        Some(byte) => Err(format!(
            "`{whole}`: `{}` cannot be part of a resource's name",
            char::from(byte)
        )),
        None => Ok(()),
    }
}

/// Splits an example's resource into group, resource and subresource.
pub(super) fn exact_resource(text: &str) -> Result<(String, String, String), String> {
    let pattern = ResourcePattern::parse(text)?;
    match (pattern.resource, pattern.group, pattern.subresource) {
        (Part::Exactly(resource), Some(group), Part::Exactly(subresource)) => {
            Ok((group.into(), resource.into(), subresource.into()))
        }
        _ => Err(format!("`{text}`: an example asks for one resource, without star")),
    }
}

/// The acts of a class by its name; `enter` is five of them.
pub(super) fn actions(name: &str) -> Result<Vec<Action>, String> {
    const ALL: [Action; 10] = [
        Action::Exec,
        Action::Attach,
        Action::PortForward,
        Action::Proxy,
        Action::EphemeralContainers,
        Action::Log,
        Action::IssueToken,
        Action::IssueCertificate,
        Action::ChangeRights,
        Action::ReviewAccess,
    ];
    let named: Vec<_> = match name {
        "enter" => ALL.into_iter().filter(|action| action.enters()).collect(),
        _ => ALL.into_iter().filter(|action| action.as_str() == name).collect(),
    };
    if named.is_empty() {
        let known: Vec<_> = ALL.iter().map(|action| action.as_str()).collect();
        return Err(format!(
            "`{name}` is no class of act; known are enter, {}",
            known.join(", ")
        ));
    }
    Ok(named)
}

/// A path, or the beginning of one when a star ends it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct PathPattern {
    text: Box<str>,
    prefix: bool,
}

impl PathPattern {
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let (body, prefix) = text.strip_suffix('*').map_or((text, false), |body| (body, true));
        if body.contains('*') {
            return Err(format!("`{text}`: a star may stand at the end of a path only"));
        }
        if !body.starts_with('/') && text != "*" {
            return Err(format!("`{text}`: a path begins with `/`"));
        }
        Ok(Self {
            text: body.into(),
            prefix,
        })
    }

    /// Whether all that it covers is `root` or stands below it.
    pub(super) fn is_below(&self, root: &str) -> bool {
        let rest = self.text.strip_prefix(root);
        rest.is_some_and(|rest| rest.starts_with('/') || (rest.is_empty() && !self.prefix))
    }

    /// Whether it covers some path that begins with `beginning`.
    pub(super) fn overlaps(&self, beginning: &str) -> bool {
        self.text.starts_with(beginning) || (self.prefix && beginning.starts_with(self.text.as_ref()))
    }

    pub(super) fn covers(&self, path: &str) -> bool {
        if self.prefix {
            path.starts_with(self.text.as_ref())
        } else {
            self.text.as_ref() == path
        }
    }
}

/// A workload's user name, or all of a namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum WorkloadPattern {
    Any,
    Exactly(String),
    /// Every user name that begins so.
    Under(String),
}

impl WorkloadPattern {
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        if text == "*" {
            return Ok(Self::Any);
        }
        if text.starts_with("spiffe://") {
            return Self::spiffe(text);
        }
        match text.split_once('/') {
            Some((namespace, "*")) if !namespace.is_empty() && !namespace.contains('*') => {
                Ok(Self::Under(format!("system:serviceaccount:{namespace}:")))
            }
            Some((namespace, name)) if !namespace.is_empty() && !name.is_empty() && !text.contains('*') => {
                Ok(Self::Exactly(format!("system:serviceaccount:{namespace}:{name}")))
            }
            _ => Err(format!(
                "`{text}` is neither `<namespace>/<service account>` nor `spiffe://…`"
            )),
        }
    }

    /// What no ID could be would never match, which for a forbid would be silence: so it is refused.
    fn spiffe(text: &str) -> Result<Self, String> {
        if text == "spiffe://*" {
            return Ok(Self::Under("spiffe://".to_owned()));
        }
        if text.strip_suffix("/*").unwrap_or(text).contains('*') {
            return Err(format!("`{text}`: a star may stand for the rest behind a `/` only"));
        }
        match SpiffePattern::parse(text) {
            Ok(SpiffePattern::Exactly(id)) => Ok(Self::Exactly(id.as_str().to_owned())),
            Ok(SpiffePattern::Under(beginning)) => Ok(Self::Under(beginning.as_ref().to_owned())),
            Err(error) => Err(format!("`{text}`: {error}")),
        }
    }

    pub(super) fn covers(&self, username: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Exactly(own) => own == username,
            Self::Under(beginning) => username.starts_with(beginning.as_str()),
        }
    }
}

/// `64KiB`, `10MiB`, `1GiB`, in bytes, as the configuration of the gateway writes sizes.
pub(super) fn size(text: &str) -> Result<u64, String> {
    let wrong = || format!("`{text}` is no size: write a whole number and KiB, MiB or GiB, such as `10MiB`");
    let split = text.len().checked_sub(3).and_then(|at| text.split_at_checked(at));
    let (number, unit) = split.ok_or_else(wrong)?;
    let factor: u64 = match unit {
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return Err(wrong()),
    };
    let digits = number.bytes().all(|byte| byte.is_ascii_digit());
    let count = number.parse::<u64>().ok().filter(|count| digits && *count > 0);
    count.and_then(|count| count.checked_mul(factor)).ok_or_else(wrong)
}

/// `90s`, `15m`, `8h`, `7d`.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("`{text}` is no length of time, such as `90s`, `15m`, `8h` or `7d`");
    let split = text.len().checked_sub(1).and_then(|at| text.split_at_checked(at));
    let (number, unit) = split.ok_or_else(wrong)?;
    let seconds: u64 = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3_600,
        "d" => 86_400,
        _ => return Err(wrong()),
    };
    let digits = number.bytes().all(|byte| byte.is_ascii_digit());
    let count = number
        .parse::<u64>()
        .ok()
        .filter(|count| digits && *count > 0)
        .ok_or_else(wrong)?;
    count.checked_mul(seconds).map(Duration::from_secs).ok_or_else(wrong)
}

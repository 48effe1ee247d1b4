//! Which workloads a service is: who may hand back what was asserted to it.

use model::subject::{Subject, SubjectKind};

/// The workloads of one service.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct RunsAs(Vec<Named>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Named {
    kind: SubjectKind,
    username: String,
    /// The cluster whose account it is; absent: of the only one.
    cluster: Option<Box<str>>,
}

impl RunsAs {
    /// # Errors
    /// Which of them is none, and why.
    pub(super) fn read(written: &[String]) -> Result<Self, Vec<(usize, String)>> {
        let (mut named, mut wrong) = (Vec::new(), Vec::new());
        for (item, text) in written.iter().enumerate() {
            match Named::read(text) {
                Ok(one) if named.contains(&one) => wrong.push((item, format!("`{text}` stands twice"))),
                Ok(one) => named.push(one),
                Err(what) => wrong.push((item, what)),
            }
        }
        if wrong.is_empty() { Ok(Self(named)) } else { Err(wrong) }
    }

    /// Whether it is one of them. `only`: the one cluster whose accounts are taken; where there are several, an account counts
    /// only where its cluster is named, because any of them may have one of that name.
    pub(super) fn covers(&self, workload: &Subject, only: Option<&str>) -> bool {
        let is_of = |cluster: &str| workload.issuer().strip_prefix("cluster:") == Some(cluster);
        let is_its = |own: &Named| match (own.kind, own.cluster.as_deref().or(only)) {
            (SubjectKind::ServiceAccount, cluster) => cluster.is_some_and(is_of),
            _ => true,
        };
        self.0
            .iter()
            .any(|own| own.kind == workload.kind() && own.username == workload.username() && is_its(own))
    }
}

impl Named {
    fn read(text: &str) -> Result<Self, String> {
        if text.contains('*') {
            return Err(format!(
                "`{text}`: whoever is the service can hand on what it was told: name each, without a star"
            ));
        }
        if text.strip_prefix("spiffe://").is_some_and(|rest| !rest.is_empty()) {
            return Ok(Self {
                kind: SubjectKind::Workload,
                username: text.to_owned(),
                cluster: None,
            });
        }
        let (cluster, account) = match text.split_once(':') {
            Some((cluster, account)) => (Some(cluster), account),
            None => (None, text),
        };
        let username = account
            .split_once('/')
            .map(|(namespace, name)| format!("system:serviceaccount:{namespace}:{name}"));
        let legal = username.filter(|username| crate::rbac::service_account(username).is_some());
        match legal {
            Some(username) if cluster != Some("") => Ok(Self {
                kind: SubjectKind::ServiceAccount,
                username,
                cluster: cluster.map(Into::into),
            }),
            _ => Err(format!(
                "`{text}` is none of `<namespace>/<service account>`, `<cluster>:<namespace>/<service account>` and `spiffe://…`"
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use model::subject::{SubjectId, SubjectParts};

    use super::*;

    fn subject(kind: SubjectKind, issuer: &str, username: &str) -> Subject {
        Subject::new(SubjectParts {
            id: SubjectId::from_digest([1; 16]),
            kind,
            issuer: issuer.to_owned(),
            subject: username.to_owned(),
            username: username.to_owned(),
            uid: None,
            groups: Vec::new(),
            extra: Default::default(),
            email: None,
        })
        .unwrap()
    }

    fn read(texts: &[&str]) -> RunsAs {
        RunsAs::read(&texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>()).unwrap()
    }

    #[test]
    fn a_service_is_the_workloads_that_it_names_and_of_several_clusters_those_whose_cluster_it_names() {
        let cart = |cluster: &str| {
            let issuer = format!("cluster:{cluster}");
            subject(SubjectKind::ServiceAccount, &issuer, "system:serviceaccount:shop:cart")
        };
        let (plain, named) = (read(&["shop/cart"]), read(&["prod:shop/cart"]));
        assert!(plain.covers(&cart("prod"), Some("prod")));
        assert!(!plain.covers(&cart("dev"), Some("prod")));
        assert!(
            !plain.covers(&cart("prod"), None),
            "of several nobody knows which is meant"
        );
        assert!(named.covers(&cart("prod"), None) && !named.covers(&cart("dev"), None));
        assert!(!named.covers(&cart("dev"), Some("dev")));
        assert!(!read(&["shop/till"]).covers(&cart("prod"), Some("prod")));
        assert!(!read(&[]).covers(&cart("prod"), Some("prod")));
        let id = "spiffe://corp.example/shop/cart";
        assert!(read(&[id]).covers(&subject(SubjectKind::Workload, "corp.example", id), None));
        // A person named so is a person, and another cluster's issuer is no cluster.
        assert!(!read(&[id]).covers(&subject(SubjectKind::Person, "https://idp.example", id), None));
        let odd = subject(SubjectKind::ServiceAccount, "prod", "system:serviceaccount:shop:cart");
        assert!(!plain.covers(&odd, Some("prod")) && !named.covers(&odd, None));
    }

    #[test]
    fn what_names_no_workload_is_refused() {
        for text in [
            "",
            "cart",
            "shop/",
            "/cart",
            "shop/*",
            "*",
            "spiffe://",
            ":shop/cart",
            "prod:cart",
            "Shop/cart",
            "a/b/c",
        ] {
            assert!(RunsAs::read(&[text.to_owned()]).is_err(), "{text}");
        }
        let twice = RunsAs::read(&["shop/cart".to_owned(), "shop/cart".to_owned()]);
        assert_eq!(twice, Err(vec![(1, "`shop/cart` stands twice".to_owned())]));
    }
}

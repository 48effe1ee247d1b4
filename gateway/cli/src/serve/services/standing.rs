//! How the published services stand: for `/readyz`, and for whoever asks the gateway about them.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use access::rule::{Publication, Services, Unpublished};
use feeds::annotated::Annotated;
use model::cluster::ClusterId;
use model::service::ServiceName;
use reach::{Endpoints, ServiceConnection};
use tokio::sync::watch;

use super::super::admin::Health;

/// So long after the start the first word on annotated Services is waited for: a gateway that takes calls before it knows them would
/// answer that nothing is there.
const WAITS_FOR_ANNOTATED: Duration = Duration::from_secs(30);
/// Troubles that one line of `/readyz` names; beyond it the count speaks.
const MOST_TOLD: usize = 5;

/// What is published now, and what is to say of it.
#[derive(Clone, Default)]
pub(in super::super) struct Standing {
    /// All of it, those that their owners publish included.
    pub(in super::super) services: Arc<Services>,
    /// Which of them stand in files.
    pub(in super::super) of_files: Arc<Services>,
    /// The ways to them.
    pub(in super::super) connections: HashMap<ServiceName, Arc<ServiceConnection>>,
    /// Where the pods are of those that are reached there.
    pub(in super::super) pods: HashMap<ServiceName, watch::Receiver<Endpoints>>,
    /// Annotated ones that are not published, and why.
    pub(in super::super) unpublished: Arc<[Unpublished]>,
    /// Who may publish what.
    pub(in super::super) publications: Arc<[Publication]>,
    /// What is known of their namespaces.
    pub(in super::super) namespaces: BTreeMap<(ClusterId, Box<str>), watch::Receiver<Annotated>>,
    /// Why the files as they are now are not in force.
    pub(in super::super) refused: Option<Arc<str>>,
}

impl Standing {
    /// The line of `/readyz`.
    pub(in super::super) fn health(&self, started: Instant) -> Health {
        let unheard = self.namespaces.iter().find(|(_, heard)| {
            let heard = heard.borrow();
            !heard.is_known && heard.trouble.is_none()
        });
        if let Some(((cluster, namespace), _)) = unheard
            && started.elapsed() < WAITS_FOR_ANNOTATED
        {
            return Health::NotReady(format!(
                "cluster `{cluster}` has not said yet which Services of namespace `{namespace}` are annotated"
            ));
        }
        let mut troubles = self.troubles();
        if troubles.is_empty() {
            return Health::Good;
        }
        let more = troubles.len().saturating_sub(MOST_TOLD);
        troubles.truncate(MOST_TOLD);
        let told = troubles.join("; ");
        Health::But(match more {
            0 => told,
            more => format!("{told}; and {more} more"),
        })
    }

    fn troubles(&self) -> Vec<String> {
        let files = self.refused.as_deref();
        let files = files.map(|why| format!("the files are not in force, what was published before stays: {why}"));
        let mut pods: Vec<String> = self
            .pods
            .iter()
            .filter_map(|(name, pods)| Some(format!("service `{name}`: {}", pods.borrow().trouble.as_ref()?)))
            .collect();
        pods.sort();
        let namespaces = self.namespaces.iter().filter_map(|((cluster, namespace), heard)| {
            let heard = heard.borrow();
            let why = heard.trouble.as_ref()?;
            Some(format!("annotated Services of {namespace} of {cluster}: {why}"))
        });
        files.into_iter().chain(pods).chain(namespaces).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(pods: &[(&str, Option<&str>)], namespace: Option<Annotated>) -> Standing {
        let pods = pods.iter().map(|(name, trouble)| {
            let endpoints = Endpoints {
                trouble: trouble.map(Arc::from),
                ..Endpoints::default()
            };
            (ServiceName::new(name).unwrap(), watch::channel(endpoints).1)
        });
        let place = (ClusterId::new("prod").unwrap(), Box::from("shop"));
        let namespaces = namespace.map(|heard| (place, watch::channel(heard).1));
        Standing {
            pods: pods.collect(),
            namespaces: namespaces.into_iter().collect(),
            ..Standing::default()
        }
    }

    #[test]
    fn what_is_wrong_with_services_is_said_and_takes_no_gateway_away() {
        let now = Instant::now();
        assert_eq!(of(&[("web", None)], None).health(now), Health::Good);
        let mut standing = of(
            &[("web", Some("the Service shop/web of prod has no pods")), ("ok", None)],
            Some(Annotated {
                is_known: true,
                trouble: Some("the cluster is silent".into()),
                ..Annotated::default()
            }),
        );
        standing.refused = Some("service `x`: there is no cluster `y`".into());
        assert_eq!(
            standing.health(now),
            Health::But(
                "the files are not in force, what was published before stays: service `x`: there is no cluster `y`; \
                 service `web`: the Service shop/web of prod has no pods; \
                 annotated Services of shop of prod: the cluster is silent"
                    .to_owned()
            )
        );
        let many: Vec<_> = ["a", "b", "c", "d", "e", "f", "g"]
            .map(|name| (name, Some("no pods")))
            .into();
        let Health::But(told) = of(&many, None).health(now) else {
            panic!()
        };
        assert!(told.ends_with("service `e`: no pods; and 2 more"), "{told}");
    }

    #[test]
    fn the_first_word_on_annotated_services_is_waited_for_and_not_for_ever() {
        let now = Instant::now();
        let standing = of(&[], Some(Annotated::default()));
        assert_eq!(
            standing.health(now),
            Health::NotReady(
                "cluster `prod` has not said yet which Services of namespace `shop` are annotated".to_owned()
            )
        );
        let long_ago = now.checked_sub(WAITS_FOR_ANNOTATED).unwrap();
        assert_eq!(standing.health(long_ago), Health::Good);
    }
}

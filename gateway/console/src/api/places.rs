//! A bounded number of things at the same time, and fewer of them for one person.
//!
//! When it is full: the next one is told to come again, at once; nobody queues.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use http::StatusCode;
use model::subject::SubjectId;

use crate::answer::Refused;

#[derive(Debug)]
pub(super) struct Places {
    most: usize,
    each: usize,
    taken: Mutex<HashMap<SubjectId, usize>>,
}

/// One place; free again when dropped.
#[derive(Debug)]
pub(super) struct Place {
    places: Arc<Places>,
    subject: SubjectId,
}

impl Places {
    pub(super) fn new(most: usize, each: usize) -> Arc<Self> {
        Arc::new(Self {
            most,
            each,
            taken: Mutex::default(),
        })
    }

    pub(super) fn take(self: &Arc<Self>, subject: &SubjectId) -> Result<Place, Refused> {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let own = taken.get(subject).copied().unwrap_or(0);
        if own >= self.each {
            return Err(busy(
                StatusCode::TOO_MANY_REQUESTS,
                format!("{own} of yours are still running; wait for them or end them"),
            ));
        }
        if taken.values().sum::<usize>() >= self.most {
            return Err(busy(
                StatusCode::SERVICE_UNAVAILABLE,
                "as many are running as the gateway allows; try again in a moment",
            ));
        }
        taken.insert(subject.clone(), own + 1);
        Ok(Place {
            places: Arc::clone(self),
            subject: subject.clone(),
        })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.places.taken.lock().unwrap_or_else(PoisonError::into_inner);
        match taken.get_mut(&self.subject) {
            Some(count) if *count > 1 => *count -= 1,
            _ => {
                taken.remove(&self.subject);
            }
        }
    }
}

/// The error that says so.
pub(super) const BUSY: &str = "busy";

fn busy(status: StatusCode, why: impl Into<String>) -> Refused {
    let mut refused = Refused::new(status, BUSY, why);
    refused.retry_after = Some(std::time::Duration::from_secs(1));
    refused
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_person_cannot_take_all_places_and_each_place_comes_back() {
        let places = Places::new(3, 2);
        let people: Vec<SubjectId> = (0..3).map(|number| SubjectId::from_digest([number; 16])).collect();
        let first = [places.take(&people[0]).unwrap(), places.take(&people[0]).unwrap()];
        assert_eq!(
            places.take(&people[0]).unwrap_err().status,
            StatusCode::TOO_MANY_REQUESTS
        );
        let other = places.take(&people[1]).unwrap();
        assert_eq!(
            places.take(&people[2]).unwrap_err().status,
            StatusCode::SERVICE_UNAVAILABLE
        );
        drop((first, other));
        assert!(places.take(&people[2]).is_ok() && places.taken.lock().unwrap().is_empty());
    }
}

//! Evidence: all records that a query asks for, or a sample of them, each with its proof, and what was counted.
//!
//! - `GET /api/v1/evidence?q=&since=&until=&sample=&seed=` → [`ledger::evidence`] as text
//!
//! Everything within the bounds is looked at, or nothing is handed out: the counts are for all of it. What was asked and counted is
//! first written down in the ledger, by its digest; that record is in the pack, so that the ledger's key vouches for the counts as well.
//! Who may have which records is as in a search, and is asked a second time before the pack leaves, for it may take a minute. Where it does not
//! leave, a second record says so; and whoever is told a count without a pack is recorded, too.

use std::sync::Arc;

use axum::extract::{Query, State};
use axum::response::Response;
use http::StatusCode;
use ledger::Spot;
use ledger::evidence::{
    Counts, MAX_EVIDENCE_LEN, MAX_SEED, MOST_ACTS, MOST_RECORDS, Sample, Span, Statement, draw, is_seed, told,
};
use search::{MOST_MATCHED, Matched, Population, Scope, Survey, Surveyed};

use super::Api;
use super::asker::Asker;
use super::parameters::Parameters;
use super::proof::{NOT_KEPT, PLAIN, answer, prove_in};
use super::read::{AuditAct, AuditRead, Whose};
use super::records::{count, in_place};
use super::unreadable;
use crate::answer::Refused;
use crate::caller::Caller;
use crate::limit::Act;
use crate::minting::random_id;

/// Of a query's bytes: with the digest behind it, it still stands in the record as it is.
const MOST_QUERY: usize = 700;

pub(super) async fn pack(
    State(api): State<Api>,
    caller: Caller,
    Query(pairs): Query<Vec<(String, String)>>,
) -> Result<Response, Refused> {
    let asker = Asker::who_does(Act::Pack, &api, caller).await?;
    let parameters = Parameters::read(pairs, &["q", "since", "until", "sample", "seed"])?;
    let (said, query) = parameters.query()?;
    if said.len() > MOST_QUERY {
        let why = format!("the query of a pack has at most {MOST_QUERY} bytes, since it is recorded whole");
        return Err(Refused::request(why));
    }
    let drawn = drawn(&parameters)?;
    let places = match asker.scope {
        Scope::All => &api.packs_of_all,
        Scope::Own(_) | Scope::Roles(_) => &api.packs,
    };
    let place = Arc::new(places.take(&asker.session.subject_id)?);
    let what = asked(&said, drawn.as_ref());
    let tool = salted_tool()?;
    let surveyed = survey(&api, &asker, Arc::clone(&place), query).await?;
    // Looking takes up to a minute: who may not read any more is told no count either.
    asker.still(&api).await?;
    let counted = surveyed.and_then(|population| {
        let (acts, sample) = chosen(&population, drawn)?;
        let spots = spots(&acts)?;
        let asked = (said, tool);
        Ok((statement(&api, &asker, &population, asked, (&acts, sample)), spots))
    });
    let (statement, spots) = match counted {
        Ok(counted) => counted,
        Err(NotPacked { matched, why }) => {
            let mut read = reads(&api, &asker, AuditAct::CountedForEvidence, &what, matched);
            read.why = Some(why.clone());
            api.record(read).await?;
            return Err(too_much(&why));
        }
    };
    let bytes = statement.to_bytes();
    let mut read = reads(&api, &asker, AuditAct::PackedEvidence, &what, statement.acts.packed);
    read.told = Some(told(&bytes));
    let seq = api.record(read).await?;
    match proved(&api, &asker, place, (bytes, spots, seq)).await {
        Ok(text) => Ok(answer(text.into_bytes(), PLAIN, NOT_KEPT)),
        Err(refused) => {
            let mut read = reads(&api, &asker, AuditAct::WithheldEvidence, &seq.to_string(), 0);
            read.why = Some(refused.description.clone());
            api.record(read).await?;
            Err(refused)
        }
    }
}

/// The pack, for who may still have it.
async fn proved(
    api: &Api,
    asker: &Asker,
    place: impl Send + 'static,
    (statement, spots, told): (Vec<u8>, Vec<Spot>, u64),
) -> Result<String, Refused> {
    let made = prove_in(place, api.pack_time, api, move |proves, go_on| {
        proves.evidence(statement, &spots, told, go_on)
    });
    let text = made.await?;
    if text.len() > MAX_EVIDENCE_LEN {
        return Err(too_much("these records and their proofs are longer than a pack may be"));
    }
    asker.still(api).await?;
    Ok(text)
}

/// A pack is of one's own records unless it is of all: what roles show is not in it.
fn reads(api: &Api, asker: &Asker, act: AuditAct, what: &str, results: u64) -> AuditRead {
    AuditRead {
        whose: Whose::of(&asker.scope.without_roles()),
        ..asker.reads(api, act, what, results)
    }
}

/// What was asked, as the record of it says.
fn asked(said: &str, drawn: Option<&(u64, String)>) -> String {
    let sample = drawn.map(|(size, seed)| format!(" sample:{size} seed:{seed}"));
    format!("{said}{}", sample.unwrap_or_default()).trim_start().to_owned()
}

/// Which program makes the statement, with 16 random bytes behind its name. The digest of the statement stands in the ledger for ever and,
/// where names are sealed, in the clear; the statement says for whom was asked, and all else of it can be told from the ledger. So without
/// them whoever has the ledger and a list of people would try who it was, also when that name was erased. They stand in `tool`, which is
/// free text to every reader: one refuses a member that it does not know.
fn salted_tool() -> Result<String, Refused> {
    let salt = random_id()?;
    Ok(format!("gatescribe {} (salt {salt})", env!("CARGO_PKG_VERSION")))
}

fn statement(
    api: &Api,
    asker: &Asker,
    population: &Population,
    (said, tool): (String, String),
    (acts, sample): (&[&Matched], Option<Sample>),
) -> Statement {
    // A pack has whole records: a part of the ledger that hides some of them is none that could be proved.
    let scope = asker.scope.without_roles();
    Statement {
        v: Statement::VERSION,
        made: api.now(),
        tool,
        from: population.from,
        to: population.to,
        scope: scope.name().to_owned(),
        subject: match &scope {
            Scope::Own(subject) => Some(subject.to_string()),
            Scope::Roles(_) | Scope::All => None,
        },
        // How much others did is not for who may not see it.
        read: (scope == Scope::All).then_some(Span {
            first: population.first,
            end: population.end,
            within: population.within,
        }),
        acts: Counts {
            range: population.range,
            matched: count(population.matched.len()),
            packed: count(acts.len()),
        },
        sample,
        records: acts
            .iter()
            .map(|act| act.records.iter().map(|spot| spot.seq).collect())
            .collect(),
        query: said,
    }
}

/// How many are to be drawn, and by which seed.
fn drawn(parameters: &Parameters) -> Result<Option<(u64, String)>, Refused> {
    let seed = parameters.text("seed");
    let size = match parameters.number("sample")? {
        None if seed.is_some() => return Err(Refused::request("`seed` is for a `sample`")),
        None => return Ok(None),
        Some(size) if (1..=u64::from(MOST_ACTS)).contains(&size) => size,
        Some(_) => return Err(Refused::request(format!("`sample` takes 1 to {MOST_ACTS}"))),
    };
    let seed = seed.filter(|seed| is_seed(seed)).ok_or_else(|| {
        Refused::request(format!(
            "a `sample` needs a `seed` of 1 to {MAX_SEED} letters, digits, `-`, `_` or `.`"
        ))
    })?;
    Ok(Some((size, seed.to_owned())))
}

async fn survey(
    api: &Api,
    asker: &Asker,
    place: impl Send + 'static,
    query: search::Query,
) -> Result<Result<Population, NotPacked>, Refused> {
    let (archive, scope, now) = (Arc::clone(&api.parts.archive), asker.scope.without_roles(), api.now());
    let surveyed = in_place(place, api.survey_time, move |go_on| {
        let survey = Survey {
            query: &query,
            scope: &scope,
            now,
        };
        archive.survey(&survey, go_on)
    });
    match surveyed.await?.map_err(|error| unreadable(&error))? {
        Surveyed::Whole(population) => Ok(Ok(population)),
        Surveyed::TooMany => Ok(Err(NotPacked {
            matched: count(MOST_MATCHED),
            why: format!("more than {MOST_MATCHED} acts match"),
        })),
        Surveyed::NotYet => Err(too_much("looking at all of that took too long")),
    }
}

/// Why no pack is made of what was counted, in words that tell the count.
struct NotPacked {
    matched: u64,
    why: String,
}

/// Those that are packed.
fn chosen(population: &Population, drawn: Option<(u64, String)>) -> Result<(Vec<&Matched>, Option<Sample>), NotPacked> {
    let all: Vec<u64> = population.matched.iter().map(Matched::first).collect();
    let Some((size, seed)) = drawn else {
        let matched = count(all.len());
        if matched > u64::from(MOST_ACTS) {
            let why = format!("{matched} acts match, and a pack holds {MOST_ACTS}: draw some with `sample`");
            return Err(NotPacked { matched, why });
        }
        return Ok((population.matched.iter().collect(), None));
    };
    let chosen = draw(&seed, &all, size);
    let acts = population.matched.iter();
    let acts = acts.filter(|act| chosen.binary_search(&act.first()).is_ok()).collect();
    let population = all;
    Ok((acts, Some(Sample { size, seed, population })))
}

/// Where the records stand, in the order of their numbers.
fn spots(acts: &[&Matched]) -> Result<Vec<Spot>, NotPacked> {
    let mut spots: Vec<Spot> = acts.iter().flat_map(|act| act.records.iter().copied()).collect();
    if spots.len() > MOST_RECORDS {
        let many = spots.len();
        return Err(NotPacked {
            matched: count(acts.len()),
            why: format!("these acts have {many} records, and a pack holds {MOST_RECORDS}"),
        });
    }
    spots.sort_by_key(|spot| spot.seq);
    Ok(spots)
}

/// Half a pack would prove a count that is none.
pub(super) fn too_much(why: &str) -> Refused {
    let why = format!("{why}; nothing was packed. Narrow the query or its bounds in time");
    Refused::new(StatusCode::UNPROCESSABLE_ENTITY, "too_much", why)
}

#[cfg(test)]
mod tests;

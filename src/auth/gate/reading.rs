//! Whether somebody may read, and how long it is waited for the forge to say so.
//!
//! Who could read some time ago is asked about beside their requests: a forge that does not answer costs them a moment.

use std::net::IpAddr;
use std::sync::Arc;

use jiff::Timestamp;
use tokio::sync::watch;
use tokio::time::Instant;
use tracing::Instrument;

use super::{Gate, GateFault, Guest, Signed, SignedFor, Turn, Wanted, Who, is_opaque};
use crate::auth::remembered::{Look, Remembered, TokenHash, Told};
use crate::domain::{Person, Secret};

/// Who wants to read.
enum Reader {
    /// Whoever has this token of the forge, and where they are.
    Token(Secret, IpAddr),
    /// For whom a token of ours speaks.
    Person(Person),
}

impl Gate {
    /// Whether the token may read the registry.
    pub async fn may_read(
        self: &Arc<Self>,
        token: &Secret,
        peer: IpAddr,
        now: Timestamp,
    ) -> Result<(), GateFault> {
        let hash = Remembered::hash(token);
        if let Some(answer) = self.remembered.answer(&hash, now) {
            return answer;
        }
        let reader = Reader::Token(token.clone(), peer);
        self.find_out(hash, reader, now).await
    }

    /// Whether somebody may read for whom a token of ours speaks; all such tokens of one person are one question.
    pub async fn may_read_as(
        self: &Arc<Self>,
        guest: &Guest,
        now: Timestamp,
    ) -> Result<(), GateFault> {
        let Who::Person(person) = &guest.who else {
            return self.jobs_must_read().await;
        };
        let hash = Remembered::of_person(person.id);
        if let Some(answer) = self.remembered.answer(&hash, now) {
            return answer;
        }
        let reader = Reader::Person(person.clone());
        self.find_out(hash, reader, now).await
    }

    async fn find_out(
        self: &Arc<Self>,
        hash: TokenHash,
        reader: Reader,
        now: Timestamp,
    ) -> Result<(), GateFault> {
        if !self.remembered.is_known(&hash, now) {
            return self.ask(hash, &reader, now).await;
        }
        let told = self.ask_beside(hash, reader, now);
        match self.remembered.in_time(&hash, told).await {
            Some(Err(fault)) if !fault.is_away() => Err(fault),
            Some(Ok(())) => Ok(()),
            Some(Err(_)) | None => {
                self.remembered.count(Look::Outlasted);
                Ok(())
            }
        }
    }

    /// Asks without anybody who has to wait for it, unless that is being done; the limits of each question end it.
    fn ask_beside(self: &Arc<Self>, hash: TokenHash, reader: Reader, now: Timestamp) -> Told {
        let mut beside = self.remembered.beside();
        // One that broke off tells nothing any more.
        if let Some(told) = beside.get(&hash)
            && told.has_changed().is_ok()
        {
            return told.clone();
        }
        let (tell, told) = watch::channel(None);
        beside.insert(hash, told.clone());
        let gate = Arc::clone(self);
        let asking = async move {
            let answer = gate.ask(hash, &reader, now).await;
            gate.remembered.beside().remove(&hash);
            tell.send_replace(Some(answer));
        };
        tokio::spawn(asking.in_current_span());
        told
    }

    async fn ask(&self, hash: TokenHash, reader: &Reader, now: Timestamp) -> Result<(), GateFault> {
        let _flight = self.remembered.flight(hash).await;
        // Somebody with the same token may have asked meanwhile.
        if let Some(answer) = self.remembered.answer(&hash, now) {
            return answer;
        }
        let asked = Instant::now();
        let (turn, answer) = match reader {
            Reader::Token(token, peer) => {
                let turn = self.question(token, &hash, *peer, now).await?;
                (turn, self.ask_reading(token, now).await)
            }
            Reader::Person(person) => (None, self.must_read_as(person).await.map(|()| None)),
        };
        // Much is refused without a question to the forge.
        if matches!(answer, Ok(_) | Err(GateFault::MayNotRead)) {
            self.remembered.answered(asked.elapsed());
        }
        self.note(hash, turn, &answer);
        answer.map(drop)
    }

    /// Asks whether the token may read, and when it ends, if it says so.
    async fn ask_reading(
        &self,
        token: &Secret,
        now: Timestamp,
    ) -> Result<Option<Timestamp>, GateFault> {
        if is_opaque(token) {
            self.must_read_by(token).await?;
            return Ok(None);
        }
        let Signed { who, expires, .. } = self.verify(token, Wanted::Read, now).await?;
        match who {
            SignedFor::Person(person, _) => self.must_read_as(&person).await?,
            SignedFor::Job(_) => self.jobs_must_read().await?,
        }
        Ok(Some(expires))
    }

    fn note(
        &self,
        hash: TokenHash,
        turn: Option<Turn<'_>>,
        answer: &Result<Option<Timestamp>, GateFault>,
    ) {
        self.remembered.count(Look::Asked);
        match answer {
            Ok(expires) => {
                self.uncount(turn);
                self.remembered.good(hash, *expires);
            }
            Err(fault) if fault.is_away() => {
                self.uncount(turn);
                self.remembered.failed();
                self.remembered.trust(&hash);
            }
            Err(GateFault::Forge(_)) => self.remembered.doubt(&hash),
            Err(fault) => self.remembered.bad(hash, fault.clone()),
        }
    }
}

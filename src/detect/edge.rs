//! Edges: a verdict is said when it turns true, and again only after an evaluation that was not true.
//!
//! Windows are named here by where they end: by the instant if all counts are exact, by the pane if anything
//! is paned. Two windows overlap if their ends are less than `span` apart (the window's length, or its number
//! of panes).

use super::StateError;
use super::codec::{Reader, Writer};
use crate::alert::{Episode, Severity};

/// How many fired stretches a key remembers.
const STRETCHES: usize = 4;

/// One key's edge and the stretches in which it fired; nothing before something fires.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Edge(Option<Box<Fired>>);

#[derive(Clone, Debug, Default, PartialEq)]
struct Fired {
    /// The last fired stretches, in the order they began.
    stretches: Vec<Stretch>,
    /// Names stretches.
    next: u32,
    /// What has fired and not been re-armed since.
    open: Option<Open>,
}

/// From the window that turned true to the last one that stayed true.
#[derive(Clone, Debug, PartialEq)]
struct Stretch {
    id: u32,
    first: i64,
    last: i64,
}

/// The episode that goes on.
#[derive(Clone, Debug, PartialEq)]
pub struct Open {
    stretch: u32,
    /// What began it.
    pub episode: Episode,
    /// The highest severity that was said in it.
    pub said: Severity,
}

impl Edge {
    /// An evaluation was not true, or nothing was in between.
    pub fn rearm(&mut self) {
        if let Some(fired) = &mut self.0 {
            fired.open = None;
        }
    }

    /// The episode that goes on, if one does.
    pub fn open(&self) -> Option<&Open> {
        self.0.as_ref()?.open.as_ref()
    }

    /// The episode that goes on, to note what was said.
    pub fn open_mut(&mut self) -> Option<&mut Open> {
        self.0.as_mut()?.open.as_mut()
    }

    /// The fired stretches that are remembered, in the order they began: where the first and the last of
    /// their windows end, by the measure of [`Cut::measure`](super::panes::Cut::measure).
    pub fn stretches(&self) -> impl Iterator<Item = (i64, i64)> {
        self.0.iter().flat_map(|fired| &fired.stretches).map(|stretch| (stretch.first, stretch.last))
    }

    /// The window that ends at `end` stayed true.
    pub fn hold(&mut self, end: i64) {
        let Some(Fired { open: Some(open), stretches, .. }) = self.0.as_deref_mut() else { return };
        if let Some(stretch) = stretches.iter_mut().find(|stretch| stretch.id == open.stretch) {
            stretch.last = stretch.last.max(end);
            stretch.first = stretch.first.min(end);
        }
    }

    /// Whether the window that ends at `end` overlaps a fired stretch; if so, it extends it.
    pub fn absorb(&mut self, end: i64, span: i64) -> bool {
        let mut overlaps = false;
        for stretch in self.0.iter_mut().flat_map(|fired| &mut fired.stretches) {
            if stretch.first.saturating_sub(end) < span && end.saturating_sub(stretch.last) < span {
                stretch.first = stretch.first.min(end);
                stretch.last = stretch.last.max(end);
                overlaps = true;
            }
        }
        overlaps
    }

    /// The window that ends at `end` fired. It `spends` the edge unless it lies apart from
    /// the newest window, or the edge is spent already.
    pub fn fire(&mut self, end: i64, spends: bool, episode: Episode, said: Severity) {
        let fired = self.0.get_or_insert_default();
        let id = fired.next;
        fired.next = fired.next.wrapping_add(1);
        if fired.stretches.len() == STRETCHES {
            fired.stretches.remove(0);
        }
        fired.stretches.push(Stretch { id, first: end, last: end });
        if spends && fired.open.is_none() {
            fired.open = Some(Open { stretch: id, episode, said });
        }
    }

    /// Bit for bit.
    pub fn write(&self, out: &mut Writer) {
        out.option(self.0.as_ref(), |out, fired| {
            out.list(&fired.stretches, |out, stretch| {
                out.u32(stretch.id);
                out.i64(stretch.first);
                out.i64(stretch.last);
            });
            out.u32(fired.next);
            out.option(fired.open.as_ref(), |out, open| {
                out.u32(open.stretch);
                write_episode(&open.episode, out);
                write_severity(open.said, out);
            });
        });
    }

    /// What [`write`](Self::write) made.
    pub fn read(from: &mut Reader<'_>) -> Result<Edge, StateError> {
        Ok(Edge(from.option(|from| {
            Ok(Box::new(Fired {
                stretches: from
                    .list(|from| Ok(Stretch { id: from.u32()?, first: from.i64()?, last: from.i64()? }))?,
                next: from.u32()?,
                open: from.option(|from| {
                    let stretch = from.u32()?;
                    Ok(Open { stretch, episode: read_episode(from)?, said: read_severity(from)? })
                })?,
            }))
        })?))
    }
}

fn write_episode(episode: &Episode, out: &mut Writer) {
    match episode {
        Episode::Event(name) => {
            out.u8(0);
            out.name(name);
        }
        Episode::Window(start) => {
            out.u8(1);
            out.time(*start);
        }
        Episode::Deadline(due) => {
            out.u8(2);
            out.time(*due);
        }
    }
}

fn read_episode(from: &mut Reader<'_>) -> Result<Episode, StateError> {
    Ok(match from.u8()? {
        0 => Episode::Event(from.name()?),
        1 => Episode::Window(from.time()?),
        2 => Episode::Deadline(from.time()?),
        tag => return Err(StateError(format!("unknown episode {tag}"))),
    })
}

/// A severity as its rank.
pub fn write_severity(severity: Severity, out: &mut Writer) {
    out.u8(Severity::ALL.iter().position(|s| *s == severity).unwrap_or_default() as u8);
}

/// What [`write_severity`] made.
pub fn read_severity(from: &mut Reader<'_>) -> Result<Severity, StateError> {
    let rank = from.u8()?;
    Severity::ALL
        .get(usize::from(rank))
        .copied()
        .ok_or_else(|| StateError(format!("unknown severity {rank}")))
}

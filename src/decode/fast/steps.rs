//! Member names made ready to be recognised: the whole `"name":` in one comparison where it is foreseen, a
//! small table where it is not.

use crate::decode::plan::{FieldPlan, Plan};
use crate::event::Type;
use crate::schema::{FieldType, Normalize, TimeUnit};

/// What is known of one node of the plan.
pub(super) struct Step {
    /// `"name":`, as it stands in a record without white space; empty if the name cannot stand there so.
    text: Box<[u8]>,
    /// The first sixteen bytes of it, and which of them count.
    head: [u64; 2],
    mask: [u64; 2],
    /// What becomes of the value.
    pub kind: Kind,
    /// The field whose value it is, if it is one.
    pub field: usize,
    /// Whether that field is the event time.
    pub is_time: bool,
    /// Its least number.
    pub min: f64,
}

/// What becomes of a member's value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// It is read over.
    Skip,
    Bool,
    Int,
    Float,
    Time(TimeUnit),
    Text(Case),
    Ip,
    List,
    Json,
    /// An object in which declared members lie, and perhaps a value too.
    Inner,
    /// The events of the record.
    Records,
}

/// Which texts are already as the schema wants them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Case {
    pub trim: bool,
    pub upper: bool,
    pub lower: bool,
}

impl Step {
    fn new(plan: &Plan, node: usize) -> Step {
        let field = plan.field(node);
        let known = field.and_then(|field| plan.fields.get(field));
        let kind = if plan.is_records(node) {
            Kind::Records
        } else if plan.is_inner(node) {
            Kind::Inner
        } else {
            known.map_or(Kind::Skip, Kind::of)
        };
        let name = plan.name(node).as_bytes();
        // Such a name is only ever written with escapes.
        let plain = !name.iter().any(|byte| matches!(byte, b'"' | b'\\' | 0..0x20)) && node != 0;
        let text = if plain { [b"\"", name, b"\":"].concat() } else { Vec::new() };
        let word = |first: usize, of: fn(u8) -> u8| {
            let byte = |n: usize| text.get(first + n).copied().map_or(0, of);
            u64::from_le_bytes(std::array::from_fn(byte))
        };
        let words = |of| if plain { [word(0, of), word(8, of)] } else { [u64::MAX; 2] };
        Step {
            // No text has the bytes of a name that is not plain.
            head: words(|byte| byte),
            mask: words(|_| 0xff),
            text: text.into(),
            kind,
            field: field.unwrap_or(usize::MAX),
            is_time: known.is_some_and(|known| known.is_time),
            min: known.and_then(|known| known.field.min).unwrap_or(f64::NEG_INFINITY),
        }
    }

    /// The place behind this member's name and colon, if they stand at a place.
    #[inline(always)]
    pub fn behind(&self, bytes: &[u8], at: usize) -> Option<usize> {
        let rest = bytes.get(at..)?;
        let length = self.text.len();
        let same = match rest.first_chunk::<16>() {
            Some(head) => {
                let head = u128::from_le_bytes(*head);
                let one = (head as u64 ^ self.head[0]) & self.mask[0];
                let other = ((head >> 64) as u64 ^ self.head[1]) & self.mask[1];
                one | other == 0 && (length <= 16 || rest.get(16..length) == self.text.get(16..))
            }
            None => length > 0 && rest.starts_with(&self.text),
        };
        same.then_some(at + length)
    }
}

impl Kind {
    fn of(plan: &FieldPlan) -> Kind {
        match (plan.field.kind, plan.built) {
            (FieldType::Time(unit), built) if built || plan.is_time => Kind::Time(unit),
            (_, false) => Kind::Skip,
            (FieldType::Ip, _) => Kind::Ip,
            (FieldType::Json, _) => Kind::Json,
            (FieldType::Text, _) => {
                let has = |step| plan.field.normalize.contains(&step);
                Kind::Text(Case {
                    trim: has(Normalize::Trim),
                    upper: has(Normalize::Upper),
                    lower: has(Normalize::Lower),
                })
            }
            (kind, _) => match kind.logical() {
                Type::Bool => Kind::Bool,
                Type::Int => Kind::Int,
                Type::Float => Kind::Float,
                Type::List => Kind::List,
                Type::Text | Type::Time | Type::Null => Kind::Skip,
            },
        }
    }
}

impl Case {
    /// Whether normalizing would leave this text as it is; a no only means that it must be tried.
    #[inline]
    pub fn holds(self, text: &[u8]) -> bool {
        let solid = |byte: Option<&u8>| byte.is_none_or(|byte| (b'!'..0x7f).contains(byte));
        (!self.trim || (solid(text.first()) && solid(text.last())))
            && (!self.upper || !has_letter(text, b'a'))
            && (!self.lower || !has_letter(text, b'A'))
    }
}

/// Whether there is a letter of the alphabet that begins with `first`, or a byte that is not ASCII.
#[inline]
fn has_letter(text: &[u8], first: u8) -> bool {
    let (head, tail) = text.as_chunks::<8>();
    let tail = tail.iter().fold(0, |word, byte| word << 8 | u64::from(*byte));
    let words = head.iter().map(|chunk| u64::from_le_bytes(*chunk)).chain([tail]);
    // Adding carries into the high bit of each byte that is not below a letter; no byte carries into the
    // next.
    let at_least = |low: u64, byte: u8| low + ONES * u64::from(0x80 - byte);
    let found = words.fold(0, |found, word| {
        let low = word & (ONES * 0x7f);
        found | word | (at_least(low, first) & !at_least(low, first + 26))
    });
    found & (ONES * 0x80) != 0
}

const ONES: u64 = 0x0101_0101_0101_0101;

/// All nodes of a plan, and a table of the names below each.
pub(super) struct Steps {
    steps: Vec<Step>,
    /// The node, or 0; a power of two of them, at most a quarter taken.
    table: Vec<u32>,
    /// Per node: the object in which the names below it stand.
    above: Vec<usize>,
}

impl Steps {
    /// The steps of a plan.
    pub fn new(plan: &Plan) -> Steps {
        let steps = (0..plan.len()).map(|node| Step::new(plan, node)).collect();
        let size = (plan.len() * 4).next_power_of_two();
        let mut all = Steps { steps, table: vec![0; size], above: vec![usize::MAX; plan.len()] };
        for node in 0..plan.len() {
            for child in plan.children(node) {
                all.insert(node, *child, plan.name(*child));
            }
        }
        all
    }

    fn insert(&mut self, node: usize, child: usize, name: &str) {
        if let Some(above) = self.above.get_mut(child) {
            *above = node;
        }
        let mut slot = self.slot(node, name.as_bytes());
        while self.table.get(slot).is_some_and(|taken| *taken != 0) {
            slot = self.next(slot);
        }
        if let (Some(slot), Ok(child)) = (self.table.get_mut(slot), u32::try_from(child)) {
            *slot = child;
        }
    }

    fn next(&self, slot: usize) -> usize {
        (slot + 1) & (self.table.len() - 1)
    }

    /// Where a name is looked for first. What a record says cannot crowd the table: only declared names are
    /// in it.
    fn slot(&self, node: usize, name: &[u8]) -> usize {
        let word = |bytes: Option<&[u8; 8]>| bytes.map(|bytes| u64::from_le_bytes(*bytes));
        let (head, tail) = match (word(name.first_chunk()), word(name.last_chunk())) {
            (Some(head), Some(tail)) => (head, tail),
            _ => (name.iter().fold(0, |word, byte| word << 8 | u64::from(*byte)), 0),
        };
        let mixed = (head ^ tail.rotate_left(29) ^ ((node as u64) << 48) ^ name.len() as u64)
            .wrapping_mul(0x9e37_79b9_7f4a_7c15);
        (mixed >> 32) as usize & (self.table.len() - 1)
    }

    /// A step.
    #[inline]
    pub fn get(&self, node: usize) -> Option<&Step> {
        self.steps.get(node)
    }

    /// The node that a member of an object leads to; none = not declared.
    pub fn find(&self, plan: &Plan, node: usize, name: &[u8]) -> Option<usize> {
        let mut slot = self.slot(node, name);
        loop {
            let child = usize::try_from(*self.table.get(slot)?).ok().filter(|child| *child != 0)?;
            if self.above.get(child) == Some(&node) && plan.name(child).as_bytes() == name {
                return Some(child);
            }
            slot = self.next(slot);
        }
    }
}

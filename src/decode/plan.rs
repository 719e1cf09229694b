//! A schema made ready for decoding: where each member name leads, and what becomes of the value there.

use crate::event::Type;
use crate::schema::{Field, Schema, arrow_type};

use arrow::datatypes::DataType;

/// The paths of a schema as a tree, and its fields.
pub(super) struct Plan {
    /// All nodes; names lead from one to the next.
    nodes: Vec<Node>,
    /// The node of an event.
    pub event: usize,
    /// The node of a whole record: that of an event, or one that also knows where the events of the record
    /// are.
    pub outer: usize,
    /// Whether a record may be an array of events.
    pub many: bool,
    /// What is done with the value of each field.
    pub fields: Vec<FieldPlan>,
}

/// A member that some path leads to.
struct Node {
    name: Box<str>,
    /// Sorted by name.
    children: Vec<usize>,
    field: Option<usize>,
    records: bool,
    /// The fields that lie deeper.
    below: Vec<usize>,
}

/// What is done with the value of one field.
pub(super) struct FieldPlan {
    /// What the schema says.
    pub field: Field,
    /// Whether its column is built.
    pub built: bool,
    /// Whether it is the event time.
    pub is_time: bool,
}

impl FieldPlan {
    /// The Arrow type of its column.
    pub fn arrow_type(&self) -> DataType {
        arrow_type(if self.built { self.field.kind.logical() } else { Type::Null })
    }
}

impl Plan {
    /// The plan of a schema; `projection` says which fields are built.
    pub fn new(schema: &Schema, projection: &[bool]) -> Plan {
        let fields = schema.fields.iter().enumerate().map(|(i, field)| FieldPlan {
            field: field.clone(),
            built: projection.get(i).copied().unwrap_or(false),
            is_time: schema.time == Some(i),
        });
        let mut plan = Plan {
            nodes: Vec::new(),
            event: 0,
            outer: 0,
            many: !schema.records.is_empty(),
            fields: fields.collect(),
        };
        plan.event = plan.tree(schema);
        plan.outer = plan.event;
        if plan.many {
            plan.outer = plan.tree(schema);
            let node = plan.path(plan.outer, &schema.records);
            plan.node_mut(node, |node| node.records = true);
        }
        plan
    }

    /// A tree of all fields' paths; its root.
    fn tree(&mut self, schema: &Schema) -> usize {
        let root = self.add("");
        for (i, field) in schema.fields.iter().enumerate() {
            for depth in 1..field.path.len() {
                let above = self.path(root, field.path.get(..depth).unwrap_or_default());
                self.node_mut(above, |node| node.below.push(i));
            }
            let node = self.path(root, &field.path);
            self.node_mut(node, |node| node.field = Some(i));
        }
        root
    }

    /// The node at the end of a path, made if it is not there.
    fn path(&mut self, from: usize, path: &[String]) -> usize {
        path.iter().fold(from, |node, name| match self.position(node, name) {
            Ok(child) => child,
            Err(at) => {
                let child = self.add(name);
                self.node_mut(node, |node| node.children.insert(at, child));
                child
            }
        })
    }

    fn add(&mut self, name: &str) -> usize {
        self.nodes.push(Node {
            name: name.into(),
            children: Vec::new(),
            field: None,
            records: false,
            below: Vec::new(),
        });
        self.nodes.len() - 1
    }

    fn node_mut(&mut self, node: usize, change: impl FnOnce(&mut Node)) {
        if let Some(node) = self.nodes.get_mut(node) {
            change(node);
        }
    }

    /// The child of that name, or where it would have to be inserted.
    fn position(&self, node: usize, name: &str) -> Result<usize, usize> {
        let children = self.nodes.get(node).map_or(&[][..], |node| &node.children);
        let found = children.binary_search_by(|child| self.name(*child).cmp(name))?;
        children.get(found).copied().ok_or(found)
    }

    /// The name of the member that leads to a node.
    pub fn name(&self, node: usize) -> &str {
        self.nodes.get(node).map_or("", |node| &node.name)
    }

    /// How many nodes there are.
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// The members below a node that lead somewhere.
    pub fn children(&self, node: usize) -> &[usize] {
        self.nodes.get(node).map_or(&[], |node| &node.children)
    }

    /// The node that a member leads to; none = not declared. `guess` is looked at first.
    pub fn child(&self, node: usize, name: &str, guess: usize) -> Option<usize> {
        if guess != 0 && self.name(guess) == name {
            return Some(guess);
        }
        self.position(node, name).ok()
    }

    /// The field whose value stands at a node.
    pub fn field(&self, node: usize) -> Option<usize> {
        self.nodes.get(node).and_then(|node| node.field)
    }

    /// Whether the array of events stands at a node.
    pub fn is_records(&self, node: usize) -> bool {
        self.nodes.get(node).is_some_and(|node| node.records)
    }

    /// Whether declared members lie below a node.
    pub fn is_inner(&self, node: usize) -> bool {
        self.nodes.get(node).is_some_and(|node| !node.children.is_empty())
    }

    /// The fields that lie below a node.
    pub fn below(&self, node: usize) -> &[usize] {
        self.nodes.get(node).map_or(&[], |node| &node.below)
    }
}

//! The outcome, for people.

use std::collections::BTreeSet;

use super::{LIMIT, Matrix};
use crate::lab::kind::Kind;

impl Matrix {
    /// Everything that contradicts the expectation.
    pub fn faults(&self) -> Vec<String> {
        let late = self
            .late
            .iter()
            .map(|pair| format!("{pair}: took longer than {LIMIT:?}"));
        let all = self.cells.values().flatten().chain(&self.special);
        let wrong = all.filter_map(|cell| {
            cell.fault
                .as_ref()
                .map(|fault| format!("{} ↔ {}: {fault}", cell.a, cell.b))
        });
        late.chain(wrong).collect()
    }

    /// The matrix for people: a mark per cell, then what each mark stands for.
    pub fn table(&self) -> String {
        let mut table = comfy_table::Table::new();
        table.load_style(comfy_table::presets::ASCII_MARKDOWN);
        table.set_header(std::iter::once(String::new()).chain(self.kinds.iter().map(Kind::to_string)));
        for row in &self.kinds {
            let cells = self.kinds.iter().map(|column| self.mark(*row, *column));
            table.add_row(std::iter::once(row.to_string()).chain(cells));
        }
        let mut text = format!("{table}\n\n");
        for cell in &self.special {
            text += &format!("{} ↔ {}: {}\n", cell.a, cell.b, cell.found);
        }
        let all = self.cells.values().flatten().chain(&self.special);
        let reasons: BTreeSet<&String> = all.flat_map(|cell| &cell.reasons).collect();
        text += "\nWhy pairs are relayed, in their agents' words:\n";
        for reason in reasons {
            text += &format!("  {reason}\n");
        }
        text
    }

    fn mark(&self, row: Kind, column: Kind) -> String {
        let Some(cells) = self.cells.get(&(row, column)) else {
            return String::new();
        };
        match cells.iter().find(|cell| cell.fault.is_some()) {
            Some(wrong) => format!("WRONG: {}", wrong.fault.as_deref().unwrap_or_default()),
            None => cells[0].found.clone(),
        }
    }
}

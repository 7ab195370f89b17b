//! Layouts as data: which cells a canvas has.

use super::{SourceId, Subject};
use motet_codecs::video::PictureSize;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// Cells of a canvas at most.
pub const CELLS_MAX: usize = 25;
/// A canvas's width, and its height, in [`Part`]s.
const WHOLE: u32 = 10_000;
/// The least side of a cell of one's own: a fiftieth.
const SIDE_MIN: u32 = 200;

/// How a canvas is divided. In words: `auto`, `equal:9`, `1+5`, `1+7`, `1+12`, `2+8`, `pip`, or
/// `custom:LEFT,TOP,WIDTH,HEIGHT;…` in percent with at most two decimals.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Layout {
    /// Equal cells, as many as there are people to be seen (at most 25).
    #[default]
    Auto,
    /// So many equal cells, 1 to 25.
    Equal(u8),
    /// One large cell for the speaker, and 5, 7 or 12 small ones.
    OneLarge(u8),
    /// Two large cells for the speaker and the one before, and eight small ones.
    TwoLarge,
    /// The speaker, and the one before in a corner.
    PictureInPicture,
    /// Any cells, the first of them for the speaker.
    Custom(Vec<Part>),
}

/// A rectangle of a canvas, in ten-thousandths of its width and height.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Part {
    /// From the left side.
    pub left: u16,
    /// From the top.
    pub top: u16,
    /// At least 200.
    pub width: u16,
    /// At least 200.
    pub height: u16,
}

/// A rectangle of a canvas, in pixels; all four are even.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PixelRect {
    /// From the left side.
    pub left: u32,
    /// From the top.
    pub top: u32,
    /// Pixels in a line.
    pub width: u32,
    /// Lines.
    pub height: u32,
}

impl PixelRect {
    /// Its size.
    pub const fn size(&self) -> PictureSize {
        PictureSize::new(self.width, self.height)
    }
}

/// Why there is no such layout.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LayoutError {
    /// The name is not known.
    #[error("layout '{0}' is not known: auto, equal:N, 1+5, 1+7, 1+12, 2+8, pip or custom:L,T,W,H;…")]
    Unknown(String),
    /// There are not so many equal cells.
    #[error("equal:{0}: there are 1 to 25 equal cells")]
    EqualCount(String),
    /// There are no cells, or too many.
    #[error("custom: {0} cells; there may be 1 to {CELLS_MAX}")]
    CellCount(usize),
    /// A cell is not four numbers of percent.
    #[error(
        "custom: cell {cell} is '{text}', and must be LEFT,TOP,WIDTH,HEIGHT in percent, such as 0,0,33.33,50"
    )]
    Cell {
        /// Counted from 1.
        cell: usize,
        /// As it was given.
        text: String,
    },
    /// A cell leads beyond the picture.
    #[error(
        "custom: cell {cell} leads beyond the picture: left and width, top and height are at most 100 together"
    )]
    OutOfPicture {
        /// Counted from 1.
        cell: usize,
    },
    /// A cell is too small.
    #[error("custom: cell {cell} is too small: width and height are at least 2")]
    TooSmall {
        /// Counted from 1.
        cell: usize,
    },
    /// Two cells overlap.
    #[error("custom: cells {first} and {second} overlap")]
    Overlap {
        /// Counted from 1.
        first: usize,
        /// Counted from 1.
        second: usize,
    },
}

/// Who is to be seen in a cell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    Speaker,
    PreviousSpeaker,
    Anybody,
    /// This one, who may not be here, or nobody.
    Fixed(Option<SourceId>),
}

/// A cell as a part of a grid of so many columns and rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Cell {
    pub(super) role: Role,
    rect: [u32; 4],
    grid: [u32; 2],
}

impl Cell {
    /// Somebody else is to be seen in it.
    pub(super) fn set_subject(&mut self, subject: &Subject) {
        self.role = match subject {
            Subject::Layout => return,
            Subject::Speaker => Role::Speaker,
            Subject::PreviousSpeaker => Role::PreviousSpeaker,
            Subject::Source(id) => Role::Fixed(Some(*id)),
            // Whose turn it is comes later.
            Subject::Nobody | Subject::Sequence(_) => Role::Fixed(None),
        };
    }

    /// Who is to be seen, if it is one person for certain.
    pub(super) fn fixed(&self) -> Option<SourceId> {
        match self.role {
            Role::Fixed(source) => source,
            _ => None,
        }
    }

    fn new(role: Role, grid: [u32; 2], rect: [u32; 4]) -> Cell {
        Cell { role, rect, grid }
    }

    /// Where it is on a canvas. Cells that touch in the grid touch on the canvas.
    pub(super) fn pixels(&self, canvas: PictureSize) -> PixelRect {
        let [left, top, width, height] = self.rect;
        let even = |at: u32, side: u32, parts: u32| {
            let pixels = u64::from(at) * u64::from(side) / u64::from(parts);
            (pixels as u32) & !1
        };
        let [columns, rows] = self.grid;
        let (x, y) = (even(left, canvas.width, columns), even(top, canvas.height, rows));
        let right = even(left + width, canvas.width, columns);
        let bottom = even(top + height, canvas.height, rows);
        PixelRect { left: x, top: y, width: right - x, height: bottom - y }
    }
}

impl Layout {
    /// The cells that show `people`, in the order in which they are drawn. The first ones come first when there are more
    /// people than cells.
    pub(super) fn cells(&self, people: usize) -> Vec<Cell> {
        use Role::{Anybody, PreviousSpeaker, Speaker};
        match self {
            Layout::Auto => equal(people.clamp(1, CELLS_MAX) as u32),
            Layout::Equal(count) => equal((*count).clamp(1, CELLS_MAX as u8).into()),
            Layout::OneLarge(5) => one_large(3, [0, 0, 2, 2]),
            Layout::OneLarge(7) => one_large(4, [0, 0, 3, 3]),
            Layout::OneLarge(_) => one_large(4, [1, 1, 2, 2]),
            Layout::TwoLarge => {
                let large = [(Speaker, [0, 0, 2, 2]), (PreviousSpeaker, [2, 0, 2, 2])];
                let large = large.map(|(role, rect)| Cell::new(role, [4, 4], rect));
                large.into_iter().chain(around([4, 4], |_, y| y >= 2)).collect()
            }
            Layout::PictureInPicture => vec![
                Cell::new(Speaker, [100, 100], [0, 0, 100, 100]),
                Cell::new(PreviousSpeaker, [100, 100], [72, 72, 25, 25]),
            ],
            Layout::Custom(parts) => {
                let cell = |(index, part): (usize, &Part)| {
                    let rect = [part.left, part.top, part.width, part.height].map(u32::from);
                    Cell::new(if index == 0 { Speaker } else { Anybody }, [WHOLE, WHOLE], rect)
                };
                parts.iter().enumerate().map(cell).collect()
            }
        }
    }

    /// The same where one of them is to be seen in the first cell: that is a large one, unless all are said to be equal.
    pub(super) fn cells_around_one(&self, people: usize) -> Vec<Cell> {
        let small = match people {
            ..=1 => return self.cells(people),
            2..=6 => 5,
            7..=8 => 7,
            _ => 12,
        };
        if *self == Layout::Auto { Layout::OneLarge(small).cells(people) } else { self.cells(people) }
    }

    /// Where the cells for so many people are on a canvas, in the order in which they are drawn.
    pub fn rects(&self, canvas: PictureSize, people: usize) -> Vec<PixelRect> {
        self.cells(people).iter().map(|cell| cell.pixels(canvas)).collect()
    }

    /// A layout of one's own.
    ///
    /// # Errors
    /// When there are no cells or too many, or one of them is too small, leads beyond the picture or overlaps another.
    pub fn custom(parts: Vec<Part>) -> Result<Layout, LayoutError> {
        if parts.is_empty() || parts.len() > CELLS_MAX {
            return Err(LayoutError::CellCount(parts.len()));
        }
        let ends = |part: &Part| {
            let end = |at: u16, length: u16| u32::from(at) + u32::from(length);
            (end(part.left, part.width), end(part.top, part.height))
        };
        for (index, part) in parts.iter().enumerate() {
            let (cell, (right, bottom)) = (index + 1, ends(part));
            if right > WHOLE || bottom > WHOLE {
                return Err(LayoutError::OutOfPicture { cell });
            }
            if u32::from(part.width.min(part.height)) < SIDE_MIN {
                return Err(LayoutError::TooSmall { cell });
            }
            let (left, top) = (u32::from(part.left), u32::from(part.top));
            let overlaps = |other: &Part| {
                let (other_right, other_bottom) = ends(other);
                left < other_right
                    && u32::from(other.left) < right
                    && top < other_bottom
                    && u32::from(other.top) < bottom
            };
            if let Some(first) = parts[..index].iter().position(overlaps) {
                return Err(LayoutError::Overlap { first: first + 1, second: cell });
            }
        }
        Ok(Layout::Custom(parts))
    }
}

impl FromStr for Layout {
    type Err = LayoutError;

    fn from_str(text: &str) -> Result<Layout, LayoutError> {
        let short = |text: &str| text.chars().take(40).collect::<String>();
        if let Some(count) = text.strip_prefix("equal:") {
            let known = count.parse().ok().filter(|count| (1..=CELLS_MAX as u8).contains(count));
            return known.map(Layout::Equal).ok_or_else(|| LayoutError::EqualCount(short(count)));
        }
        if let Some(cells) = text.strip_prefix("custom:") {
            let count = cells.split(';').count();
            if count > CELLS_MAX {
                return Err(LayoutError::CellCount(count));
            }
            let parts = cells.split(';').enumerate().map(|(index, cell)| {
                let unread = || LayoutError::Cell { cell: index + 1, text: short(cell) };
                part(cell).ok_or_else(unread)
            });
            return Layout::custom(parts.collect::<Result<_, _>>()?);
        }
        Ok(match text {
            "auto" => Layout::Auto,
            "1+5" => Layout::OneLarge(5),
            "1+7" => Layout::OneLarge(7),
            "1+12" => Layout::OneLarge(12),
            "2+8" => Layout::TwoLarge,
            "pip" => Layout::PictureInPicture,
            _ => return Err(LayoutError::Unknown(short(text))),
        })
    }
}

impl fmt::Display for Layout {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Layout::Auto => out.write_str("auto"),
            Layout::Equal(count) => write!(out, "equal:{count}"),
            Layout::OneLarge(small) => write!(out, "1+{small}"),
            Layout::TwoLarge => out.write_str("2+8"),
            Layout::PictureInPicture => out.write_str("pip"),
            Layout::Custom(parts) => {
                out.write_str("custom:")?;
                for (index, part) in parts.iter().enumerate() {
                    let separator = if index == 0 { "" } else { ";" };
                    let percent = |value: u16| format!("{}.{:02}", value / 100, value % 100);
                    let values = [part.left, part.top, part.width, part.height].map(percent).join(",");
                    write!(out, "{separator}{values}")?;
                }
                Ok(())
            }
        }
    }
}

/// Four numbers of percent.
fn part(text: &str) -> Option<Part> {
    let mut values = text.split(',').map(|value| percent(value.trim()));
    let mut next = || values.next().flatten();
    let part = Part { left: next()?, top: next()?, width: next()?, height: next()? };
    values.next().is_none().then_some(part)
}

/// Percent as ten-thousandths: digits, and at most two more behind a point.
fn percent(text: &str) -> Option<u16> {
    let (whole, hundredths) = text.split_once('.').unwrap_or((text, ""));
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || whole.len() > 3 || hundredths.len() > 2 || !digits(whole) || !digits(hundredths) {
        return None;
    }
    let hundredths: u16 = format!("{hundredths:0<2}").parse().ok()?;
    // 999 percent is out of any picture, whatever it becomes.
    Some(whole.parse::<u16>().ok()?.saturating_mul(100).saturating_add(hundredths))
}

/// Equal cells in the smallest grid that holds them; the last row is in the middle.
fn equal(count: u32) -> Vec<Cell> {
    let columns = (1..).find(|columns| columns * columns >= count).unwrap_or(5);
    let rows = count.div_ceil(columns);
    let last = count - (rows - 1) * columns;
    (0..count)
        .map(|index| {
            let (row, column) = (index / columns, index % columns);
            let shift = if row + 1 == rows { columns - last } else { 0 };
            // A column is two wide, so that a row can be shifted by half of one.
            Cell::new(Role::Anybody, [2 * columns, columns], [2 * column + shift, row, 2, 1])
        })
        .map(|cell| centred(cell, columns, rows))
        .collect()
}

/// With fewer rows than columns, rows keep their height and leave the same room above and below.
fn centred(cell: Cell, columns: u32, rows: u32) -> Cell {
    let [left, top, width, height] = cell.rect;
    let rect = [left, 2 * top + (columns - rows), width, 2 * height];
    Cell::new(cell.role, [2 * columns, 2 * columns], rect)
}

/// One large cell for the speaker in a grid of `side` by `side`, small ones in the rest.
fn one_large(side: u32, large: [u32; 4]) -> Vec<Cell> {
    let [left, top, width, height] = large;
    let within =
        move |x: u32, y: u32| !((left..left + width).contains(&x) && (top..top + height).contains(&y));
    let first = Cell::new(Role::Speaker, [side, side], large);
    std::iter::once(first).chain(around([side, side], within)).collect()
}

fn around(grid: [u32; 2], wanted: impl Fn(u32, u32) -> bool) -> impl Iterator<Item = Cell> {
    let all = (0..grid[1]).flat_map(move |y| (0..grid[0]).map(move |x| (x, y)));
    all.filter(move |(x, y)| wanted(*x, *y)).map(move |(x, y)| Cell::new(Role::Anybody, grid, [x, y, 1, 1]))
}

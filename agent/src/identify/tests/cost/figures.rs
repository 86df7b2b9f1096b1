//! What the batches took, and the line that is printed of them.

use rustix::time::{ClockId, clock_gettime};
use std::time::{Duration, Instant};

/// Of one kind of credential: a figure for each batch.
#[derive(Default)]
pub(super) struct Row {
    pub(super) name: String,
    pub(super) bare: Vec<Each>,
    pub(super) not_yet_known: Vec<Each>,
    pub(super) known: Vec<Each>,
}

/// Nanoseconds, by the clock and of CPU.
#[derive(Clone, Copy)]
pub(super) struct Each([f64; 2]);

/// What a batch of so many costs.
pub(super) fn each(count: usize, work: impl FnOnce()) -> Each {
    let cpu = || {
        let time = clock_gettime(ClockId::ThreadCPUTime);
        Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec.try_into().unwrap())
    };
    let (began, cpu_before) = (Instant::now(), cpu());
    work();
    let (cpu, clock) = (cpu() - cpu_before, began.elapsed());
    Each([clock, cpu].map(|time| time.as_secs_f64() * 1e9 / count as f64))
}

fn median(each: &[Each]) -> [f64; 2] {
    [0, 1].map(|of| {
        let mut sorted: Vec<_> = each.iter().map(|each| each.0[of]).collect();
        sorted.sort_by(f64::total_cmp);
        sorted[sorted.len() / 2]
    })
}

impl Row {
    pub(super) fn print(&self, beside: Option<&Self>) {
        let medians = |row: &Self| {
            // Each batch is held against its neighbour: the machine is not equally fast all the time.
            let pairs = row.not_yet_known.iter().zip(&row.bare);
            let above: Vec<_> =
                pairs.map(|(all, bare)| Each([all.0[0] - bare.0[0], all.0[1] - bare.0[1]])).collect();
            [&row.bare, &row.not_yet_known, &above, &row.known].map(|each| median(each))
        };
        let line = medians(self).map(|[clock, cpu]| format!("{clock:.0} ({cpu:.0})"));
        println!("{:<46}{:>18}{:>18}{:>18}{:>18}", self.name, line[0], line[1], line[2], line[3]);
        if let Some(beside) = beside {
            let (own, others) = (medians(self), medians(beside));
            let times = [1, 2, 3].map(|column| {
                let [clock, cpu] = [0, 1].map(|of| own[column][of] / others[column][of]);
                format!("× {clock:.2} ({cpu:.2})")
            });
            println!("{:<46}{:>18}{:>18}{:>18}{:>18}", "", "", times[0], times[1], times[2]);
        }
    }
}

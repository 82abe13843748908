//! `lictor check`.

use crate::Outcome;
use crate::args::CheckArgs;
use crate::output;
use crate::source::Source;

pub(crate) fn check(args: &CheckArgs) -> Outcome {
    let style = output::style(&std::io::stdout());
    let mut outcome = Outcome::Clean;
    for path in &args.files {
        let source = Source::read_to_judge(path);
        if source.topology.is_none() {
            outcome = Outcome::BadInput;
        }
        let text = if args.json {
            source.json() + "\n"
        } else {
            let ok = source.topology.is_some();
            let verdict = if ok { format!("{}: ok\n", source.file) } else { String::new() };
            source.render(style) + &verdict
        };
        if output::print(&text).is_err() {
            return Outcome::Failed;
        }
    }
    outcome
}

//! Commands and their answers (9).

use lictor_kernel::supervisor::{
    DeleteChildError, RestartChildError, StartChildError, TerminateChildError, Terminated,
};
use lictor_kernel::{AutoShutdown, ChildId, ChildSpec, Pid, Restart};

use super::{Blocking, Child, Input, Program, Reply, Start, count};

impl Program<'_> {
    pub(super) fn handle_command(&mut self, command: Input) -> Blocking<()> {
        match command {
            Input::StartChild(id, spec) => self.start_child(id, spec),
            Input::TerminateChild(id) => self.terminate_child(id),
            Input::RestartChild(id) => self.restart_child(id),
            Input::DeleteChild(id) => {
                let answer = match self.find(id) {
                    None => Err(DeleteChildError::NotFound),
                    Some(child) if child.pid().is_some() => Err(DeleteChildError::Running),
                    Some(child) if child.restarts_at().is_some() => {
                        Err(DeleteChildError::Restarting)
                    }
                    Some(_) => {
                        self.remove(id);
                        Ok(())
                    }
                };
                self.reply = Some(Reply::DeleteChild(answer));
                Ok(())
            }
            Input::Start | Input::Event(_) | Input::Timeout => Ok(()),
            Input::Shutdown(_) | Input::Kill => Ok(()),
        }
    }

    pub(super) fn start_child(&mut self, id: ChildId, spec: ChildSpec) -> Blocking<()> {
        let significance =
            self.config.auto_shutdown == AutoShutdown::Never || spec.restart == Restart::Permanent;
        let refusal = match self.find(id) {
            _ if spec.significant && significance => Some(StartChildError::BadCombination),
            Some(child) => Some(match child.pid() {
                Some(pid) => StartChildError::AlreadyStarted(pid),
                None => StartChildError::AlreadyPresent,
            }),
            None if count(self.children.iter()) >= self.config.max_children => {
                Some(StartChildError::LimitReached)
            }
            None => None,
        };
        if let Some(refusal) = refusal {
            self.reply = Some(Reply::StartChild(Err(refusal)));
            return Ok(());
        }
        let pid = Pid { child: id, incarnation: self.incarnation };
        self.reply = Some(Reply::StartChild(Ok(pid)));
        self.children.push(Child::down(id, spec));
        // (9) The caller is answered; nothing is logged.
        if let Start::Failed(..) = self.start_process(id)? {
            self.remove(id);
        }
        Ok(())
    }

    pub(super) fn terminate_child(&mut self, id: ChildId) -> Blocking<()> {
        let answer = match self.find(id) {
            None => Err(TerminateChildError::NotFound),
            Some(child) => Ok(child.pid().map_or(Terminated::AtOnce, Terminated::WhenExited)),
        };
        let found = answer.is_ok();
        self.reply = Some(Reply::TerminateChild(answer));
        if found { self.stop_process(id) } else { Ok(()) }
    }

    pub(super) fn restart_child(&mut self, id: ChildId) -> Blocking<()> {
        let refusal = match self.find(id) {
            None => Some(RestartChildError::NotFound),
            Some(child) if child.pid().is_some() => Some(RestartChildError::Running),
            Some(child) if child.restarts_at().is_some() => Some(RestartChildError::Restarting),
            Some(_) => None,
        };
        if let Some(refusal) = refusal {
            self.reply = Some(Reply::RestartChild(Err(refusal)));
            return Ok(());
        }
        let pid = Pid { child: id, incarnation: self.incarnation };
        self.reply = Some(Reply::RestartChild(Ok(pid)));
        self.start_process(id)?;
        Ok(())
    }

    /// A command that comes while none is served.
    pub(super) fn refuse(&mut self, command: Input) {
        let running = self.begun && self.exiting.is_none();
        self.reply = match command {
            Input::StartChild(..) if running => Some(Reply::StartChild(Err(StartChildError::Busy))),
            Input::StartChild(..) => Some(Reply::StartChild(Err(StartChildError::NotRunning))),
            Input::TerminateChild(_) if running => {
                Some(Reply::TerminateChild(Err(TerminateChildError::Busy)))
            }
            Input::TerminateChild(_) => {
                Some(Reply::TerminateChild(Err(TerminateChildError::NotRunning)))
            }
            Input::RestartChild(_) if running => {
                Some(Reply::RestartChild(Err(RestartChildError::Busy)))
            }
            Input::RestartChild(_) => Some(Reply::RestartChild(Err(RestartChildError::NotRunning))),
            Input::DeleteChild(_) if running => {
                Some(Reply::DeleteChild(Err(DeleteChildError::Busy)))
            }
            Input::DeleteChild(_) => Some(Reply::DeleteChild(Err(DeleteChildError::NotRunning))),
            Input::Start | Input::Event(_) | Input::Timeout => None,
            Input::Shutdown(_) | Input::Kill => None,
        };
    }
}

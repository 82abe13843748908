//! The kernel's supervisor and the reference model in lock-step over random histories.

mod supervisor_support;

use lictor_kernel::{Jitter, Supervisor};
use lictor_sim::model::{Model, drive};
use proptest::prelude::*;

use supervisor_support::{Op, Setup, World, any_history, any_setup, config, differ};

fn compare(setup: &Setup, ops: &[Op]) -> Result<(), TestCaseError> {
    let (config, specs, begin) = setup;
    let mut kernel = Supervisor::new(config.clone(), specs).expect("a valid configuration");
    let mut model = Model::new(config.clone(), specs.clone());
    let mut world = World::new(*begin, config.intensity.period);
    for op in ops {
        // Obeying may go on for ever (a start that is always wanted again); a few rounds suffice.
        for _ in 0..20 {
            let inputs = world.inputs(*op);
            let again = matches!(op, Op::Obey) && !inputs.is_empty();
            for input in inputs {
                let got = drive(&mut kernel, world.now, input);
                let expected = model.step(world.now, input);
                if got != expected {
                    return Err(TestCaseError::fail(differ(&model, &got, &expected)));
                }
                world.saw(&got);
            }
            if !again {
                break;
            }
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(config(2_000))]

    #[test]
    fn kernel_and_model_agree(setup in any_setup(Jitter::None), ops in any_history()) {
        compare(&setup, &ops)?;
    }
}

//! The contract of the store on both engines: jobs through the shared suite, events and what people
//! read of them here. A rule that only one engine can break has its case in `store/<engine>.rs`.

mod alerts;
mod encryption;
mod events;
mod nodes;
mod postgres;
mod records;
mod retention;
mod sqlite;
mod subjects;
mod world;

use sluice_actors::job_store_contract;

use world::World;

/// Cases that hold on every engine.
macro_rules! on_both {
    ($($case:ident)*) => {
        mod on_sqlite {
            $(
                #[tokio::test]
                async fn $case() {
                    super::$case(crate::store::world::World::sqlite().await).await;
                }
            )*
        }
        mod on_postgres {
            $(
                #[tokio::test]
                async fn $case() {
                    super::$case(crate::store::world::World::postgres().await).await;
                }
            )*
        }
    };
}
use on_both;

mod jobs_on_sqlite {
    use super::{World, job_store_contract};

    job_store_contract!(World::sqlite());
}

mod jobs_on_postgres {
    use super::{World, job_store_contract};

    job_store_contract!(World::postgres());
}

//! Operators who go on changing things until nobody answers, and remember what they were told.

use std::{net::SocketAddr, time::Duration};

use signalbox_proto::admin::v1::{Route, UpdateRouteRequest, route, route_service_client::RouteServiceClient};
use tokio::time::{interval, sleep, timeout};
use tokio_util::sync::CancellationToken;
use tonic::{
    Request, Status,
    metadata::{Ascii, MetadataValue},
    service::interceptor::InterceptedService,
    transport::{Channel, Endpoint},
};
use uuid::Uuid;

use crate::place::{PATIENCE, TOKEN};

/// Puts a token into each call.
type Bearer = Box<dyn FnMut(Request<()>) -> Result<Request<()>, Status> + Send>;

pub(crate) fn routes(admin: SocketAddr) -> RouteServiceClient<InterceptedService<Channel, Bearer>> {
    let channel = Endpoint::try_from(format!("http://{admin}")).expect("an address makes a URL").connect_lazy();
    let token: MetadataValue<Ascii> = format!("Bearer {TOKEN}").parse().expect("a token is ASCII");
    let bearer: Bearer = Box::new(move |mut request| {
        request.metadata_mut().insert("authorization", token.clone());
        Ok(request)
    });
    RouteServiceClient::with_interceptor(channel, bearer)
}

/// One operator, who changes one route over and over and remembers what was said of it.
pub(crate) struct Operator {
    pub(crate) name: String,
    /// How often it was changed, as far as that was acknowledged; and the revision that did it.
    pub(crate) acknowledged: (u64, u64),
    /// A change whose answer never came.
    pub(crate) open: Option<UpdateRouteRequest>,
}

impl Operator {
    pub(crate) fn new(number: usize) -> Self {
        Self { name: format!("routes/r{number}"), acknowledged: (0, 0), open: None }
    }

    pub(crate) fn change(&self, count: u64) -> UpdateRouteRequest {
        let route = Route {
            name: self.name.clone(),
            destination: Some(route::Destination::TargetUrl(target(count))),
            ..Route::default()
        };
        let request_id = Uuid::new_v4().to_string();
        UpdateRouteRequest { route: Some(route), allow_missing: true, request_id, ..UpdateRouteRequest::default() }
    }

    /// Changes it until the control plane is gone. A change that went unanswered is repeated first, under its id.
    pub(crate) async fn work(mut self, admin: SocketAddr, signs: Signs) -> Self {
        let mut client = routes(admin);
        let mut tries = interval(Duration::from_millis(2));
        while !signs.killed.is_cancelled() {
            let count = self.acknowledged.0 + 1;
            let request = self.open.take().unwrap_or_else(|| self.change(count));
            self.open = Some(request.clone());
            let Some(Ok(answer)) = signs.killed.run_until_cancelled(client.update_route(request)).await else {
                // It is not there yet, or not any more.
                tries.tick().await;
                continue;
            };
            let route = answer.into_inner();
            assert_eq!(route.destination, Some(route::Destination::TargetUrl(target(count))), "{}", self.name);
            assert!(route.revision > self.acknowledged.1, "{} is answered by revision {}", self.name, route.revision);
            (self.acknowledged, self.open) = ((count, route.revision), None);
            signs.answered.cancel();
        }
        self
    }
}

/// What operators and whoever kills tell each other in one life.
#[derive(Debug, Clone, Default)]
pub(crate) struct Signs {
    /// The first call was answered.
    pub(crate) answered: CancellationToken,
    /// The process is gone.
    pub(crate) killed: CancellationToken,
}

impl Signs {
    /// The moment to die: mostly soon after the first answer, and one time in four before there can be any.
    pub(crate) async fn moment(&self) {
        if fastrand::u8(..) < 64 {
            return sleep(Duration::from_millis(fastrand::u64(..80))).await;
        }
        timeout(PATIENCE, self.answered.cancelled()).await.expect("a call is answered");
        sleep(Duration::from_millis(fastrand::u64(..40))).await;
    }
}

pub(crate) fn target(count: u64) -> String {
    format!("https://upstream.example/{count}/")
}

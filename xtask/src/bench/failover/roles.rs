//! What the clients do: writers, idle ones, and those that hold a transaction open.

use std::time::{Duration, Instant};

use super::client::{Client, Connection, Phase, Seat};
use super::record::{Failure, HeldEnd, Moment, Record, Refusal, Role, Tenure};
use super::table;

/// From one write of a writer to its next: many writers make a load, not the end of the machine.
const THINK: Duration = Duration::from_millis(100);

/// From one question of an idle client to its next; each adds its own.
const IDLE: Duration = Duration::from_secs(2);
const IDLE_STEP: Duration = Duration::from_millis(40);

/// Longer than any round.
const ROUND: Duration = Duration::from_secs(600);

/// How a writer writes; its number says which.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Style {
    unit: Unit,
    protocol: Protocol,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Unit {
    /// One INSERT.
    Statement,
    /// BEGIN, INSERT, UPDATE, COMMIT.
    Transaction,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Protocol {
    Extended,
    Simple,
}

/// Whether a write that failed may have been done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    NotDone,
    Unknown,
}

impl Style {
    fn of(number: i32) -> Self {
        let unit = if number % 2 == 0 { Unit::Statement } else { Unit::Transaction };
        let protocol = if number / 2 % 2 == 0 { Protocol::Simple } else { Protocol::Extended };
        Self { unit, protocol }
    }
}

/// Writes until the round is over.
pub(crate) async fn write(seat: Seat, number: i32) -> Record {
    let (mut client, style) = (Client::new(seat, Role::Writer, number), Style::of(number));
    for seq in 0.. {
        client.rest(THINK, Phase::Over).await;
        if client.is_over() {
            break;
        }
        client.want();
        let phase = client.phase();
        let Some(connection) = client.connection().await else { break };
        let began = Instant::now();
        match write_once(connection, style, number, seq).await {
            Ok(tenure) => {
                client.acknowledged(seq, began, tenure);
                client.served_in(phase);
            }
            Err((failure, fate)) => {
                if fate == Fate::NotDone {
                    client.record.refusals.push(Refusal { seq, state: failure.state() });
                }
                client.failed(&failure, Moment::During).await;
                if style.unit == Unit::Transaction && client.is_connected() {
                    roll_back(&mut client).await;
                }
            }
        }
    }
    client.into_record()
}

async fn write_once(
    connection: &Connection,
    style: Style,
    number: i32,
    seq: i32,
) -> Result<Tenure, (Failure, Fate)> {
    let not_done = |failure| (failure, Fate::NotDone);
    // What was the last statement is done, or not, or nobody knows.
    let last = |failure: Failure| {
        let fate = if failure.is_certain() { Fate::NotDone } else { Fate::Unknown };
        (failure, fate)
    };
    let value = match style.unit {
        Unit::Statement => insert(connection, style.protocol, number, seq).await.map_err(last)?,
        Unit::Transaction => {
            connection.simple("BEGIN").await.map_err(not_done)?;
            let value = insert(connection, style.protocol, number, seq).await.map_err(not_done)?;
            connection.simple(&table::count(number)).await.map_err(not_done)?;
            connection.simple("COMMIT").await.map_err(last)?;
            value
        }
    };
    // Done, but by nobody who says who he is: no answer of a server of ours.
    Tenure::parse(&value)
        .ok_or_else(|| (Failure::Refused(format!("answer '{value}'")), Fate::Unknown))
}

async fn insert(
    connection: &Connection,
    protocol: Protocol,
    number: i32,
    seq: i32,
) -> Result<String, Failure> {
    match protocol {
        Protocol::Simple => connection.simple(&table::insert(number, seq)).await,
        Protocol::Extended => connection.extended(table::INSERT, [number, seq]).await,
    }
}

async fn roll_back(client: &mut Client) {
    let Some(connection) = client.connection().await else { return };
    if let Err(failure) = connection.simple("ROLLBACK").await {
        client.failed(&failure, Moment::During).await;
    }
}

/// Asks something now and then until the round is over.
pub(crate) async fn idle(seat: Seat, number: i32) -> Record {
    let mut client = Client::new(seat, Role::Idle, number);
    let own = IDLE_STEP * (number.unsigned_abs() % 50);
    let mut pause = Duration::ZERO;
    while !client.is_over() {
        client.rest(pause, Phase::Over).await;
        if client.is_over() {
            break;
        }
        client.want();
        let Some(connection) = client.connection().await else { break };
        match connection.simple("SELECT 1").await {
            Ok(_) => {
                client.satisfied();
                pause = IDLE + own;
            }
            Err(failure) => {
                client.failed(&failure, Moment::During).await;
                // It still wants its answer.
                pause = Duration::ZERO;
            }
        }
    }
    client.into_record()
}

/// Opens a transaction, keeps it open until all is settled, and goes on in it.
pub(crate) async fn hold(seat: Seat, number: i32) -> Record {
    let mut client = Client::new(seat, Role::Held, number);
    let Some(tenure) = begin(&mut client, number).await else { return client.into_record() };
    let began = Instant::now();
    client.satisfied();
    client.rest(ROUND, Phase::Settled).await;
    let end = if client.is_connected() {
        go_on(&mut client, number).await
    } else {
        // The record says between transactions, and one was open.
        client.record.lost_between -= 1;
        client.record.lost_during += 1;
        HeldEnd::Disconnected
    };
    if end == HeldEnd::Committed {
        client.acknowledged(0, began, tenure);
    }
    client.record.held = end;
    client.rest(ROUND, Phase::Over).await;
    client.into_record()
}

/// The first half of the transaction; `None` when the round ended before.
async fn begin(client: &mut Client, number: i32) -> Option<Tenure> {
    loop {
        let connection = client.connection().await?;
        let begun = async {
            connection.simple("BEGIN").await?;
            connection.simple(&table::insert(number, 0)).await
        };
        match begun.await {
            Ok(value) => return Tenure::parse(&value),
            Err(failure) => client.failed(&failure, Moment::During).await,
        }
    }
}

/// The second half, and whether the connection is of use after it.
async fn go_on(client: &mut Client, number: i32) -> HeldEnd {
    let Some(connection) = client.connection().await else { return HeldEnd::Disconnected };
    let rest = async {
        connection.simple(&table::insert(number, 1)).await?;
        connection.simple("COMMIT").await
    };
    let Err(failure) = rest.await else { return HeldEnd::Committed };
    if failure.is_certain() {
        let state = failure.state();
        client.record.refusals.extend([0, 1].map(|seq| Refusal { seq, state: state.clone() }));
    }
    client.failed(&failure, Moment::During).await;
    if !client.is_connected() {
        return HeldEnd::Disconnected;
    }
    let Some(connection) = client.connection().await else { return HeldEnd::Disconnected };
    let usable = async {
        connection.simple("ROLLBACK").await?;
        connection.simple("SELECT 1").await
    };
    match usable.await {
        Ok(one) if one == "1" => HeldEnd::Kept(failure.state()),
        Ok(other) => HeldEnd::Kept(format!("{} then '{other}'", failure.state())),
        Err(second) => {
            client.failed(&second, Moment::During).await;
            HeldEnd::Disconnected
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writers_write_in_every_style_alike() {
        let styles: Vec<_> = (0..4).map(Style::of).collect();
        for (index, style) in styles.iter().enumerate() {
            assert!(!styles[index + 1..].contains(style));
            assert_eq!(Style::of(4 + index as i32), *style);
        }
    }
}

//! The rules of the protocol, each of which can be broken by itself.

/// Which rule is broken. In alphabetical order, as the table in `docs/leases.md`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Broken {
    /// A look is acknowledged when its answer is there, and reported later.
    AcknowledgedBeforeReported,
    /// `as_of` is read when the answer is there.
    AsOfAfterTheAnswer,
    /// A rotation is answered before it is durable.
    CommitNotDurable,
    /// A look confirms first and reports then.
    ConfirmedBeforeReported,
    /// A node that finds its row deleted goes on as if it were there.
    DeletedRowIgnored,
    /// Memory whose lease has run out is trusted while the feed has no connection.
    ExpiredMemoryTrusted,
    /// A look confirms whatever the age of the last beat.
    LookWithoutBeat,
    /// None.
    Nothing,
    /// A rotation returns as soon as it has committed.
    NobodyWaitedFor,
    /// A janitor goes on counting where it was before the database crashed.
    PatienceSpansACrash,
    /// Cells take what is reported last in place of the highest.
    PlainStore,
    /// The position is the highest `changed_in` that was seen.
    PositionIsHighestSeen,
    /// The position is kept from one connection to the next, unless the snapshot went backwards.
    PositionOutlivesConnection,
    /// The rotator's cells are raised before it has committed.
    RaisedBeforeCommit,
    /// What a check has read is trusted for a lease, registered or not.
    ReadGivesALease,
    /// A new connection begins at the present, and doubts nothing.
    ReconnectsAtThePresent,
    /// The row is inserted after the first look.
    RegisteredAfterTheLook,
    /// A crash of the database can lose the rows of nodes.
    RegistrationNotDurable,
    /// Everything is doubted before the question in place of after the answer.
    ResyncBeforeTheQuestion,
    /// A node that closes deletes its row and is asked all the same.
    RowDeletedBeforeMemory,
    /// A look confirms where its snapshot shows the own row, whatever the age of the last beat.
    RowSeenInsteadOfBeat,
    /// The lease is extended without a question, since no notification came.
    SilenceTrusted,
    /// What was looked at on an earlier connection is acknowledged on the next.
    StaleAcknowledgement,
    /// The lease is waited out from when the statement was sent.
    WaitedFromTheStart,
    /// A tick less than a lease is waited.
    WaitedLessThanALease,
}

impl Broken {
    /// Every rule, broken.
    pub const ALL: [Self; 24] = [
        Self::AcknowledgedBeforeReported,
        Self::AsOfAfterTheAnswer,
        Self::CommitNotDurable,
        Self::ConfirmedBeforeReported,
        Self::DeletedRowIgnored,
        Self::ExpiredMemoryTrusted,
        Self::LookWithoutBeat,
        Self::NobodyWaitedFor,
        Self::PatienceSpansACrash,
        Self::PlainStore,
        Self::PositionIsHighestSeen,
        Self::PositionOutlivesConnection,
        Self::RaisedBeforeCommit,
        Self::ReadGivesALease,
        Self::ReconnectsAtThePresent,
        Self::RegisteredAfterTheLook,
        Self::RegistrationNotDurable,
        Self::ResyncBeforeTheQuestion,
        Self::RowDeletedBeforeMemory,
        Self::RowSeenInsteadOfBeat,
        Self::SilenceTrusted,
        Self::StaleAcknowledgement,
        Self::WaitedFromTheStart,
        Self::WaitedLessThanALease,
    ];

    /// Whether [`reduce`](crate::reduce) may leave out what makes no difference to the protocol: it does to
    /// these, in which nodes know what the protocol does not let them know.
    pub(crate) fn forgets(self) -> bool {
        !matches!(
            self,
            Self::CommitNotDurable
                | Self::ExpiredMemoryTrusted
                | Self::PlainStore
                | Self::RaisedBeforeCommit
                | Self::ReconnectsAtThePresent
        )
    }

    /// Whether only the order of transactions matters: not to these, where something of them outlives the
    /// crash after which ids are used again, or is compared with more.
    pub(crate) fn renumbers(self) -> bool {
        self.forgets()
            && !matches!(
                self,
                Self::PositionIsHighestSeen
                    | Self::PositionOutlivesConnection
                    | Self::StaleAcknowledgement
            )
    }
}

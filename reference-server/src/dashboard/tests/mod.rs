//! Attacks on the dashboard and the JSON API, through the server's own router and without a socket.

mod admin;
mod audit;
mod backup;
mod elsewhere;
mod forms;
mod late;
mod logins;
mod people;
mod permissions;
mod site;
mod tokens;
mod transfers;
